"""What a file of an architecture offers to the registry and to the counts."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
from typing import Any

from clinometer.models.counting import closed_form
from clinometer.models.seq2seq import model as seq2seq


def _no_fields(size: str) -> dict[str, Any]:
    del size
    return {}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One architecture: how it is configured, built and counted.

    Attributes:
        config: frozen dataclass of its fields, a `TransformerConfig` or an heir.
        make_network: (config) -> its Haiku functions; called inside `hk.transform`.
        param_counts: (config) -> closed form of the number of parameters.
        forward_macs: (config, encoder_length, decoder_length) -> closed form of the
            forward pass's multiply-adds, one example.
        size_fields: (name of a size) -> fields beside the size's own, such as a number
            of experts; overridden by those that a caller gives.
        refused_operators: scaling operators that mean nothing here -> why.
        length_field: field of the config that is the one length of input that its
            encoder takes; none for encoders that take any.
        packs: examples that share a row, told apart by segments, do not see each other.
        dropout_rates: field of the config that is a rate of dropout -> its default in
            fine-tuning; a protocol without dropout sets all of them to 0.
        family: what figures colour alike: architectures with the same idea.
        mark: matplotlib's marker of its points in figures, its own within a family.
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
    mark: str = "o"
