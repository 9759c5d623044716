"""Counts a model by its name, at the papers' batch or another."""

from typing import Any

from clinometer.models.architectures import registry
from clinometer.models.counting import checked
from clinometer.models.seq2seq import batch as batch_lib


def count(
    name: str,
    *,
    batch_size: int = 128,
    encoder_length: int = 512,
    decoder_length: int = 114,
    platform: str = "cpu",
    trace: bool = True,
    **overrides: Any,
) -> checked.TransformerCounts:
    """Counts a model's cost without allocating or compiling anything.

    Args:
        name: see `registry.build`.
        batch_size: number of examples of a batch.
        encoder_length: S; a model that accepts one input length only is built for it,
            unless `overrides` set another.
        decoder_length: T.
        platform: see `EncoderDecoder.count`.
        trace: see `EncoderDecoder.count`.
        **overrides: see `registry.build`.

    Returns:
        The counts.

    Raises:
        ModelNameError: the name is invalid.
        ConfigError: see `registry.build` and `EncoderDecoder.count`.
        OptionError: a batch size or length is out of range.
        CountError: the closed form and the traced program disagree.
    """
    shape = batch_lib.TextShape(encoder_length, decoder_length)
    length_field = registry.architecture_of(name).length_field
    if length_field:
        overrides = {length_field: encoder_length, **overrides}
    model = registry.build(name, **overrides)
    return model.count(batch_size, shape, platform=platform, trace=trace)
