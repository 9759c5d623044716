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
    """Counts one model without allocating or compiling anything.

    Args:
        name: as for `registry.build`.
        batch_size: examples of a batch.
        encoder_length: S; also of a model that takes one length, unless `overrides`
            give it another.
        decoder_length: T.
        platform: as for `EncoderDecoder.count`.
        trace: likewise.
        **overrides: as for `registry.build`.

    Raises:
        ModelNameError: the name cannot be read.
        ConfigError: as `registry.build` and `EncoderDecoder.count`.
        OptionError: a batch or length is out of range.
        CountError: closed form and jaxpr disagree.
    """
    shape = batch_lib.TextShape(encoder_length, decoder_length)
    length_field = registry.architecture_of(name).length_field
    if length_field:
        overrides = {length_field: encoder_length, **overrides}
    model = registry.build(name, **overrides)
    return model.count(batch_size, shape, platform=platform, trace=trace)
