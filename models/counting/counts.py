"""Counts a model by its name, at the papers' batch or another."""

from typing import Any

from clinometer.kernels.options.errors import OptionError
from clinometer.models.architectures import registry
from clinometer.models.counting import checked
from clinometer.models.seq2seq import batch as batch_lib
from clinometer.models.vision import counts as vision_counts

# Those of the papers.
_ENCODER_LENGTH, _DECODER_LENGTH = 512, 114


def count(
    name: str,
    *,
    batch_size: int = 128,
    encoder_length: int | None = None,
    decoder_length: int | None = None,
    platform: str = "cpu",
    trace: bool = True,
    **overrides: Any,
) -> checked.TransformerCounts | vision_counts.VisionCounts:
    """Counts a model's cost without allocating or compiling anything.

    Args:
        name: see `registry.build`.
        batch_size: number of examples of a batch.
        encoder_length: S of a model of texts; None for 512. A model that accepts one
            input length only is built for it, unless `overrides` set another. The size
            of images is in the model's config.
        decoder_length: T of a model of texts; None for 114.
        platform: see `EncoderDecoder.count`.
        trace: see `EncoderDecoder.count`.
        **overrides: see `registry.build`.

    Returns:
        The counts.

    Raises:
        ModelNameError: the name is invalid.
        ConfigError: see `registry.build` and `EncoderDecoder.count`.
        OptionError: a batch size or length is out of range, or a length is given for a
            model of images.
        CountError: the closed form and the traced program disagree.
    """
    if registry.takes_images(name):
        for field, value in (("encoder", encoder_length), ("decoder", decoder_length)):
            if value is not None:
                raise OptionError(
                    f"{field}_length: got {value}, but {name} is a model of images, "
                    "whose size is image_height x image_width"
                )
        model = registry.build(name, **overrides)
        return model.count(batch_size, model.shape, platform=platform, trace=trace)
    shape = text_shape(encoder_length, decoder_length)
    length_field = registry.architecture_of(name).length_field
    if length_field:
        overrides = {length_field: shape.encoder_length, **overrides}
    model = registry.build(name, **overrides)
    return model.count(batch_size, shape, platform=platform, trace=trace)


def text_shape(
    encoder_length: int | None, decoder_length: int | None
) -> batch_lib.TextShape:
    """Returns the shape of an example of text.

    Args:
        encoder_length: S; None for the papers' 512.
        decoder_length: T; None for the papers' 114.

    Raises:
        OptionError: a length is out of range.
    """
    return batch_lib.TextShape(
        _ENCODER_LENGTH if encoder_length is None else encoder_length,
        _DECODER_LENGTH if decoder_length is None else decoder_length,
    )
