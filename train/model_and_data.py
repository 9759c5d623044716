"""Builds the model of a run and opens its data, which determine each other.

The vocabulary or the classes of the data give the model's size a default, and the model
gives the shape of an example.
"""

from collections.abc import Mapping
import functools
import types
from typing import Any

from absl import logging
import jax
from ml_collections import config_dict

from clinometer import models
from clinometer.kernels.cpu import bfloat16
from clinometer.train import errors
from clinometer.train import sources
from clinometer.train.configs import pretrain
from clinometer.train.run import record as run_record


def of(
    config: config_dict.ConfigDict,
) -> tuple[models.Model, sources.Source, str | None]:
    """Returns the model and the data of a run.

    Args:
        config: its configuration.

    Returns:
        The model, the data, and the hash of the vocabulary; None for images.

    Raises:
        RunError: a field of the model or of the data is wrong, or they do not fit.
    """
    if config.kind == run_record.CLASSIFICATION:
        return (*_of_images(config), None)
    return _of_texts(config)


def overrides(config: config_dict.ConfigDict) -> dict[str, Any]:
    """Returns the fields of the model's config that are given.

    On CPUs that do not multiply bfloat16, float32 is faster and takes its place.

    Args:
        config: the configuration of a run.
    """
    given = {k: v for k, v in config.model.items() if k != "name" and v is not None}
    if given.get("dtype") == "bfloat16" and _is_slow_in_bfloat16():
        _say_float32()
        given["dtype"] = "float32"
    return given


def _is_slow_in_bfloat16() -> bool:
    return jax.default_backend() == "cpu" and not bfloat16.is_multiplied()


@functools.cache  # Once per process.
def _say_float32() -> None:
    logging.warning(
        "config.model.dtype: this processor does not multiply bfloat16 (it has neither "
        "%s), which would make training slower; it trains in float32",
        " nor ".join(bfloat16.INSTRUCTIONS),
    )


def _of_texts(
    config: config_dict.ConfigDict,
) -> tuple[models.EncoderDecoder, sources.Source, str]:
    """Returns the model and the texts of a run, and the hash of their vocabulary."""
    if models.takes_images(config.model.name):
        raise errors.ConfigError(
            f"config.model.name: {config.model.name} is a model of images; use "
            "--config=train/configs/classify.py:MODEL"
        )
    given = overrides(config)
    model = build(config.model.name, given)
    vocabulary = sources.open_store(config.data.store).vocabulary
    if "vocab_size" not in given:
        given["vocab_size"] = vocabulary.padded_size(128)
        model = build(config.model.name, given)
    if model.config.vocab_size < vocabulary.size:
        raise errors.ConfigError(
            f"config.model.vocab_size: {model.config.vocab_size} is less than the "
            f"{vocabulary.size} ids of the store {config.data.store}; the default is "
            f"{vocabulary.padded_size(128)}"
        )
    if config.kind == run_record.FINETUNING:
        _check_packing(config, model)
        source = sources.finetuning(config, model)
    else:
        source = sources.pretraining(config)
    _check_lengths(config, model, source)
    return model, source, vocabulary.sha256


def _of_images(
    config: config_dict.ConfigDict,
) -> tuple[models.VisionTransformer, sources.Source]:
    """Returns the model and the images of a run."""
    given = overrides(config)
    if pretrain.architecture(config.model.name):
        raise errors.ConfigError(
            f"config.model.name: {config.model.name} is a model of texts; accepted "
            f"here: {', '.join(models.IMAGE_ARCHITECTURES)}"
        )
    model = build(config.model.name, given)
    opener = image_sources()
    train, validation = opener.open_images(config.data)
    count = len(train.classes)
    if "num_classes" not in given:
        model = build(config.model.name, {**given, "num_classes": count})
    if model.config.num_classes < count:
        raise errors.ConfigError(
            f"config.model.num_classes: {model.config.num_classes} is less than the "
            f"{count} classes of {config.data.folder}"
        )
    return model, opener.classification(config, model, train, validation)


def image_sources() -> types.ModuleType:
    """Returns the module `image_sources`, which needs an extra.

    Raises:
        ConfigError: the extra is not installed.
    """
    try:
        from clinometer.train import image_sources as found
    except ModuleNotFoundError as error:
        raise errors.ConfigError(
            f"config.kind: the Python package '{error.name}' is not installed; pip "
            "install 'clinometer[vision]'"
        ) from error
    return found


def build(
    name: str, overrides: Mapping[str, Any]
) -> models.EncoderDecoder | models.VisionTransformer:
    """Builds the model of a run.

    Args:
        name: `config.model.name`.
        overrides: the other fields of `config.model`.

    Raises:
        ConfigError: the name or a field is wrong.
    """
    try:
        return models.build(name, **overrides)
    except models.ModelNameError as error:
        raise errors.ConfigError(f"config.model.name: {error}") from error
    except models.ConfigError as error:
        raise errors.ConfigError(f"config.model: {error}") from error


def _check_packing(config: config_dict.ConfigDict, model: models.Model) -> None:
    """Raises ConfigError if packed examples would attend to each other."""
    if config.data.packing and not models.architecture_of(model.name).packs:
        apart = [name for name, kind in models.ARCHITECTURES.items() if kind.packs]
        architecture = model.name.partition("-")[0]
        raise errors.ConfigError(
            f"config.data.packing: {architecture} mixes all positions of a row, so "
            "packed examples would influence each other; set it to false, or use one "
            f"of {', '.join(apart)}"
        )


def _check_lengths(
    config: config_dict.ConfigDict, model: models.Model, source: sources.Source
) -> None:
    """Raises ConfigError if the model does not accept sequences of these lengths."""
    try:
        model.check(source.shape)
    except models.ConfigError as error:
        raise errors.ConfigError(
            f"config.data.encoder_length: {config.data.encoder_length} is not possible "
            f"with {model.name}: {error}"
        ) from error
