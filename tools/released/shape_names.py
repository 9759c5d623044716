"""Names a Transformer's shape in the grammar of models, with the fewest operators.

Six encoder layers more than `small` has, say, are an operator: a model with the numbers
of `t5-efficient-small-el16-dl4` is `transformer-EL16-DL4-SM`.
"""

from collections.abc import Iterator
import dataclasses
import math

from clinometer.models.architectures import registry
from clinometer.models.architectures import sizes


@dataclasses.dataclass(frozen=True)
class Shape:
    """The numbers and flags that sizes and operators set."""

    num_encoder_layers: int
    num_decoder_layers: int
    d_model: int
    d_kv: int
    num_heads: int
    d_ff: int
    shared_heads: bool = False
    shared_kv: bool = False


# Operator -> field, in the order of names.
_NUMBERS = {
    "DM": "d_model",
    "KV": "d_kv",
    "NH": "num_heads",
    "FF": "d_ff",
}


def name(architecture: str, shape: Shape) -> str:
    """Returns the canonical name of a model.

    Of the sizes that need the fewest operators, the one whose numbers are closest is
    chosen. The grammar has no name for a multiple of 1000, which it reads as one of
    1024; such a number is left to an override of the config.

    Args:
        architecture: such as "transformer".
        shape: its shape.
    """

    def distance(size: str) -> tuple[int, float]:
        own = sizes.SIZES[size]
        there = Shape(
            own.num_layers,
            own.num_layers,
            own.d_model,
            own.d_kv,
            own.num_heads,
            own.d_ff,
        )
        ratios = (
            abs(math.log(getattr(shape, field.name) / getattr(there, field.name)))
            for field in dataclasses.fields(Shape)
            if field.type is int
        )
        return len(list(_operators(size, shape))), sum(ratios)

    size = min(sizes.SIZES, key=distance)
    parts = (architecture, *_operators(size, shape), size)
    return registry.parse("-".join(parts)).canonical


def _operators(size: str, shape: Shape) -> Iterator[str]:
    own = sizes.SIZES[size]
    layers = {"EL": shape.num_encoder_layers, "DL": shape.num_decoder_layers}
    changed = {code: n for code, n in layers.items() if n != own.num_layers}
    if len(changed) == 2 and len(set(changed.values())) == 1:
        changed = {"NL": shape.num_encoder_layers}
    for code, field in _NUMBERS.items():
        if getattr(shape, field) != getattr(own, field):
            changed[code] = getattr(shape, field)
    for code, number in changed.items():
        if number % 1000:
            yield f"{code}{number}"
    if shape.shared_heads:
        yield "SH"
    if shape.shared_kv:
        yield "SKV"
