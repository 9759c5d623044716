"""The files of a model that Mesh-TensorFlow trained, found and opened.

A release is a folder with `operative_config.gin` and checkpoints of TensorFlow,
`model.ckpt-STEP.index` with their data, as T5 and *Scale Efficiently* were released at
`gs://t5-data` and `gs://scenic-bucket`. The vocabulary is elsewhere there.
"""

import functools
import pathlib

from clinometer.tools.released import errors
from clinometer.tools.released import hf_config
from clinometer.tools.released import mesh_config
from clinometer.tools.released import mesh_names
from clinometer.tools.released import release as release_lib
from clinometer.tools.released.readers import gin_file
from clinometer.tools.released.readers import tensor
from clinometer.tools.released.readers import tensorflow_file

SOURCE = "mesh-tensorflow"
_DIVISOR = 128  # Of the rows of tables: `Unitransformer.vocab_divisor`.


def fits(path: pathlib.Path) -> bool:
    """Returns whether a path is such a folder, or an index file in it."""
    if path.name.endswith(tensorflow_file.INDEX):
        return True
    if not path.is_dir() or (path / hf_config.FILE).is_file():
        return False
    return (path / mesh_config.FILE).is_file() or bool(tensorflow_file.steps(path))


def opened(
    path: pathlib.Path, vocabulary: pathlib.Path | None = None
) -> list[release_lib.Release]:
    """Finds and opens the files of a release; reads no values of variables.

    Args:
        path: the folder, or the index file of one of its checkpoints.
        vocabulary: the SentencePiece model; None for that of the folder.

    Returns:
        One release for each checkpoint, in ascending order of steps.

    Raises:
        ReleaseError: a file is missing or damaged, or the config does not fit.
    """
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        indices = tensorflow_file.steps(path)
    elif path.is_file():
        indices = {tensorflow_file.step_of(path): path}
    else:
        raise errors.ReleaseError(f"{path}: there is no such file")
    if not indices:
        raise errors.ReleaseError(
            f"{path}: has no checkpoints; accepted: model.ckpt-STEP"
            f"{tensorflow_file.INDEX} with model.ckpt-STEP.data-*"
        )
    config_file = folder / mesh_config.FILE
    values = gin_file.read(config_file)
    tokens = vocabulary or folder / release_lib.VOCABULARY
    loaded = release_lib.read_vocabulary(tokens)
    releases = []
    for step, index in indices.items():
        files = tensorflow_file.files(index)
        variables = tensorflow_file.read(index)
        rows = _rows(variables) or -(-loaded.size // _DIVISOR) * _DIVISOR
        release_lib.check_vocabulary(tokens, loaded, rows, index.name)
        config = mesh_config.parsed(values, rows, str(config_file))
        tensors = mesh_names.to_hub(variables, config.repeats)
        stored = functools.partial(
            mesh_names.from_hub, repeats=config.repeats, shared_kv=config.shared_kv
        )
        releases.append(
            release_lib.Release(
                path,
                config.released,
                config_file,
                files,
                tensors,
                loaded,
                tokens,
                SOURCE,
                step,
                config.tied,
                stored,
            )
        )
    return releases


def _rows(variables: dict[str, tensor.Tensor]) -> int:
    """Returns the rows of the embedding table; 0 without one."""
    for name in mesh_names.TABLES:
        if name in variables and len(variables[name].shape) == 2:
            return variables[name].shape[0]
    return 0
