"""Upper bounds of what a model's name or a field of its config may request.

They are far above any published model. Every layer is traced, so without a bound a name
that requests a billion layers would never return.
"""

from clinometer.kernels.options import ranges

NAME_CHARACTERS = 200
LAYERS = 1 << 10
PARAMETERS = 10**14

_WHOLE = 1 << 24
_MOST = {
    "d_model": 1 << 16,
    "d_kv": 1 << 16,
    "d_embedding": 1 << 16,
    "d_ff": 1 << 20,
    "num_heads": 1 << 12,
    "num_kv_heads": 1 << 12,
    "num_experts": 1 << 16,
    "num_softmaxes": 1 << 12,
}


def whole(field: str) -> ranges.Whole:
    """Returns the range that an integer field of a model's config accepts."""
    least = 0 if field in ("num_kv_heads", "sequences_per_group") else 1
    most = LAYERS if field.endswith(("_layers", "_blocks")) else _WHOLE
    return ranges.Whole(least, _MOST.get(field, most))
