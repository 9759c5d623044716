"""How much a model may ask for, by its name or by a field of its config.

Far above any published model. Every layer is traced, so a name that asks for a billion
of them would never come back.
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
    """Returns what a whole-numbered field of a model's config accepts."""
    least = 0 if field == "num_kv_heads" else 1
    most = LAYERS if field.endswith(("_layers", "_blocks")) else _WHOLE
    return ranges.Whole(least, _MOST.get(field, most))
