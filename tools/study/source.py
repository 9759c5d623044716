"""The data of a study: a token store or images, and what its runs are scored on."""

from collections.abc import Mapping
import functools
from typing import Any

from clinometer.data import errors as data_errors
from clinometer.data import paths
from clinometer.data.images import digits
from clinometer.data.mixtures import rates as mixtures
from clinometer.data.tasks import load
from clinometer.data.tasks import probes
from clinometer.data.tasks import registry
from clinometer.tools.study import protocol as protocol_lib
from clinometer.train import errors
from clinometer.train import model_and_data
from clinometer.train import sources


def ensure(protocol: protocol_lib.Protocol, store: str | None) -> str:
    """Returns the path of the token store, or the folder of the images.

    The embedded store is created on first use.

    Args:
        protocol: of the study.
        store: the token store that was given, if any.

    Raises:
        ConfigError: the protocol needs a store or a folder that is not given, or other
            vocabularies.
        DataError: the embedded store cannot be made.
    """
    # Imported here because it loads the packages that read and tokenize corpora.
    from clinometer.data.corpus import embedded

    if protocol.of_images:
        return _folder(protocol)
    if protocol.kind == protocol_lib.PAPERS:
        if store is None:
            raise errors.ConfigError(
                "config.store: none; the papers' protocol needs a token store, which "
                "`clinometer tokenize` makes; give it with --store DIR"
            )
        size = sources.open_store(store, "--store").vocabulary.padded_size(128)
        if size != protocol.vocab_size:
            raise errors.ConfigError(
                f"config.protocol.vocab_size: {protocol.vocab_size}, but models on "
                f"{store} have {size}, its ids rounded up to a multiple of 128"
            )
    if store is not None:
        return str(store)
    return str(embedded.ensure_store(vocab_size=protocol.vocab_size))


def hashes(protocol: protocol_lib.Protocol, source: str) -> dict[str, str]:
    """Returns the hashes by which a run's record names its data.

    Args:
        protocol: of the study.
        source: path of the token store, or folder of the images.

    Returns:
        `corpus_hash` and `vocabulary_sha256` of texts, `train_sha256` and
        `validation_sha256` of images; that of the training data first.

    Raises:
        ConfigError: there is no such store or folder.
    """
    if protocol.of_images:
        image_sources = model_and_data.image_sources()
        found = image_sources.open_images(protocol.images.data(source))
        names = ("train_sha256", "validation_sha256")
        return {name: one.fingerprint for name, one in zip(names, found)}
    manifest = sources.open_store(source, "--store").manifest
    return {
        "corpus_hash": manifest.corpus_hash,
        "vocabulary_sha256": manifest.vocabulary["sha256"],
    }


@functools.cache  # Large folders take long to list, and every run is counted.
def model_fields(protocol: protocol_lib.Protocol) -> Mapping[str, Any]:
    """Returns the fields of the models' config that a study of images sets.

    Args:
        protocol: of the study.

    Raises:
        ConfigError: there is no such folder or class.
    """
    image_sources = model_and_data.image_sources()
    images, _ = image_sources.open_images(protocol.images.data(_folder(protocol)))
    return {"num_classes": len(images.classes), **protocol.images.model_fields}


def check_downstream(protocol: protocol_lib.Protocol) -> None:
    """Checks what the runs are scored on before anything is trained.

    Args:
        protocol: of the study.

    Raises:
        ConfigError: a task is unknown or its files are missing, or there are too few
            images.
    """
    if protocol.of_images:
        model_and_data.image_sources()
        from clinometer.train.fewshot import evaluation  # Needs the same extra.

        request = protocol.fewshot.request(_folder(protocol))
        evaluation.open_images(evaluation.Request("", **request))
    for tuning in protocol.finetunings:
        settings = tuning.settings
        place = f"--downstream {settings.mixture}"
        if tuning.name != protocol_lib.FINETUNING:
            place = f"config.finetunings.{tuning.name}.mixture {settings.mixture}"
        try:
            for name in mixtures.expand(settings.mixture, registry.names()):
                task = registry.get(name)
                if task.benchmark == probes.BENCHMARK:
                    continue
                if settings.data is None:
                    raise errors.ConfigError(
                        f"{place}: {name} needs the files of its release; give their "
                        "folder with --data DIR"
                    )
                for split in ("train", "validation"):
                    load.find(task, settings.data, split)
        except data_errors.DataError as error:
            raise errors.ConfigError(f"{place}: {error}") from error


def _folder(protocol: protocol_lib.Protocol) -> str:
    given = protocol.images.folder
    if given is None:
        raise errors.ConfigError(
            "config.images.folder: none; a study of images needs a folder of labelled "
            f"images (data/README.md), or {digits.NAME} for scikit-learn's"
        )
    return given if given == digits.NAME else paths.absolute(given)
