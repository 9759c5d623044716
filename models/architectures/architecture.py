"""The definition of an architecture, as the registry and the counts need it."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
from typing import Any

from clinometer.models.architectures import sizes as sizes_lib
from clinometer.models.counting import closed_form
from clinometer.models.seq2seq import model as seq2seq


def _no_fields(size: str) -> dict[str, Any]:
    del size
    return {}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Defines how an architecture is configured, built and counted.

    Attributes:
        config: frozen dataclass of its options, derived from `TransformerConfig`.
        make_network: (config) -> Haiku functions; called inside `hk.transform`.
        param_counts: (config) -> numbers of parameters, in closed form.
        forward_macs: (config, encoder_length, decoder_length) -> multiply-adds of one
            example's forward pass, in closed form.
        size_fields: (size name) -> config fields that depend on the size, such as the
            number of experts; overrides passed to `registry.build` take precedence.
        refused_operators: maps scaling operators that do not apply to the reason.
        length_field: config field that holds the only input length that the encoder
            accepts; empty if it accepts any length.
        packs: whether examples that share a row are kept apart by their segments.
        dropout_rates: maps the config fields that are dropout rates to their defaults
            in fine-tuning; a protocol without dropout sets them all to 0.
        family: group of related architectures; figures draw a family in one colour,
            one that they don't know in grey.
        mark: shape of its points in figures, such as "circle"; no two architectures
            share one.
        label: name for readers; by default its name, capitalized.
        sizes: its named sizes.
    """

    config: type
    make_network: Callable[[Any], seq2seq.Network]
    param_counts: Callable[[Any], closed_form.ParamCounts]
    forward_macs: Callable[[Any, int, int], closed_form.Macs]
    size_fields: Callable[[str], dict[str, Any]] = _no_fields
    refused_operators: Mapping[str, str] = dataclasses.field(default_factory=dict)
    length_field: str = ""
    packs: bool = True
    dropout_rates: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {"dropout_rate": 0.1}
    )
    family: str = "other"
    mark: str = ""
    label: str = ""
    sizes: Mapping[str, sizes_lib.Size] = dataclasses.field(
        default_factory=lambda: sizes_lib.SIZES
    )
