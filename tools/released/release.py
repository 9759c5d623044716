"""The files of a model released on the Hugging Face hub, found and opened.

A release is a folder with `config.json`, the weights in one of `FORMATS`, and T5's
SentencePiece model, `spiece.model`.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import hashlib
import pathlib

from clinometer.data import errors as data_errors
from clinometer.data.store import vocabulary as vocabulary_lib
from clinometer.tools.released import errors
from clinometer.tools.released import hf_config
from clinometer.tools.released import tensor_names
from clinometer.tools.released.readers import flax_file
from clinometer.tools.released.readers import safetensors_file
from clinometer.tools.released.readers import sharded
from clinometer.tools.released.readers import tensor
from clinometer.tools.released.readers import torch_file

VOCABULARY = "spiece.model"

Tensors = dict[str, tensor.Tensor]


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of weights: the name of its file, and its reader."""

    file: str
    read: Callable[[pathlib.Path], Tensors]


# In the order in which they are preferred.
FORMATS = (
    Format("model.safetensors", safetensors_file.read),
    Format("flax_model.msgpack", flax_file.read),
    Format("pytorch_model.bin", torch_file.read),
)


def _same(name: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    return name, shape


@dataclasses.dataclass(frozen=True)
class Release:
    """The files of a released model, with one of its checkpoints.

    Attributes:
        path: the folder or the file that was given.
        config: what the file of its config says.
        config_file: that file.
        weights: the files of the weights; the index first if there is one.
        tensors: the tensors, under PyTorch's names and in its orientation.
        vocabulary: the vocabulary.
        vocabulary_file: its file.
        source: who released it so; a name for the record.
        step: the step of the checkpoint; 0 if the files do not tell.
        tied: whether the logits use the embedding table; None if only the tensors tell.
        stored: returns the name and shape that a tensor has in the files.
    """

    path: pathlib.Path
    config: hf_config.Released
    config_file: pathlib.Path
    weights: Sequence[pathlib.Path]
    tensors: Mapping[str, tensor.Tensor]
    vocabulary: vocabulary_lib.Vocabulary
    vocabulary_file: pathlib.Path
    source: str = "hugging-face"
    step: int = 0
    tied: bool | None = None
    stored: Callable[[str, tuple[int, ...]], tuple[str, tuple[int, ...]]] = _same

    def digests(self) -> dict[str, str]:
        """Returns the SHA-256 of each file that was read, by its name."""
        digests = {}
        for path in (self.config_file, *self.weights, self.vocabulary_file):
            with open(path, "rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        return digests


def opened(path: pathlib.Path, vocabulary: pathlib.Path | None = None) -> Release:
    """Finds and opens the files of a release; reads no values of tensors.

    Args:
        path: the folder, or the file of the weights in it.
        vocabulary: the SentencePiece model; None for that of the folder.

    Raises:
        ReleaseError: a file is missing or damaged, or the config does not fit; the
            message names the file.
    """
    weights = _weights(path)
    folder = weights.parent
    config_file = folder / hf_config.FILE
    config = hf_config.read(config_file)
    tokens = vocabulary or folder / VOCABULARY
    loaded = read_vocabulary(tokens)
    check_vocabulary(tokens, loaded, config.vocab_size, hf_config.FILE)
    name = weights.name.removesuffix(sharded.ENDING)
    chosen = _format_of(name)
    if name == weights.name:
        files, tensors = [weights], chosen.read(weights)
    else:
        files = [weights, *sharded.files(weights)]
        tensors = sharded.read(weights, chosen.read)
    if chosen.read is flax_file.read:
        tensors = tensor_names.of_flax(tensors)
    return Release(path, config, config_file, files, tensors, loaded, tokens)


def read_vocabulary(path: pathlib.Path) -> vocabulary_lib.Vocabulary:
    """Reads the SentencePiece model of a release.

    Raises:
        ReleaseError: it is missing or damaged.
    """
    if not path.is_file():
        raise errors.ReleaseError(
            f"{path}: there is no such file; the vocabulary is read from it, or from "
            "the SentencePiece model given with --vocabulary"
        )
    try:
        return vocabulary_lib.Vocabulary.load(str(path))
    except data_errors.DataError as error:
        raise errors.ReleaseError(str(error)) from error


def check_vocabulary(
    path: pathlib.Path, vocabulary: vocabulary_lib.Vocabulary, rows: int, place: str
) -> None:
    """Raises `ReleaseError` if a vocabulary has more ids than the table has rows.

    Args:
        path: file of the vocabulary.
        vocabulary: the vocabulary.
        rows: rows of the embedding table.
        place: where this number stands.
    """
    if vocabulary.size > rows:
        raise errors.ReleaseError(
            f"{path}: has {vocabulary.size:,} ids with its sentinels, but vocab_size "
            f"in {place} is {rows:,}; accepted: at least as many"
        )


def _format_of(name: str) -> Format:
    ending = pathlib.PurePath(name).suffix
    for each in FORMATS:
        if ending == pathlib.PurePath(each.file).suffix:
            return each
    endings = ", ".join(pathlib.PurePath(each.file).suffix for each in FORMATS)
    raise errors.ReleaseError(
        f"{name}: not the weights of a model; accepted: a file that ends in {endings}, "
        f"its {sharded.ENDING.removeprefix('.')}, or the folder with it"
    )


def _weights(path: pathlib.Path) -> pathlib.Path:
    """Returns the file of the weights, or its index."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise errors.ReleaseError(f"{path}: there is no such file or folder")
    names = [
        name for each in FORMATS for name in (each.file, each.file + sharded.ENDING)
    ]
    for name in names:
        if (path / name).is_file():
            return path / name
    raise errors.ReleaseError(
        f"{path}: has no weights; accepted: one of {', '.join(names)}, or "
        "Mesh-TensorFlow's operative_config.gin with model.ckpt-STEP.index"
    )
