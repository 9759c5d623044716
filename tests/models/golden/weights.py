"""Weights and batches of the golden values, drawn by NumPy from a fixed seed."""

from collections.abc import Mapping

import numpy as np

SHAPE = {
    "d_model": 16,
    "d_ff": 24,
    "num_heads": 2,
    "d_kv": 8,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "vocab_size": 32,
}
# Long enough to reach the last bucket of both stacks, at 128 and 113 positions.
ENCODER_LENGTH, DECODER_LENGTH, GENERATED_LENGTH = 140, 120, 12
# These models would generate token 1 immediately; this EOS lets them continue.
GENERATED_EOS = 9

# variant -> options of our model
VARIANTS = {
    "t5_tied_relu": {"tie_embeddings": True, "ffn_activation": "relu"},
    "t5_untied_gated": {"tie_embeddings": False, "ffn_activation": "gated-gelu"},
}


def draw(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Draws float32 arrays in the order of their names; norm scales are near 1."""
    rng = np.random.default_rng(20221018)
    result = {}
    for name in sorted(shapes):
        noise = rng.normal(size=shapes[name])
        is_scale = name.endswith("norm/scale")
        result[name] = (1 + 0.1 * noise if is_scale else 0.3 * noise).astype(np.float32)
    return result


def batch() -> dict[str, np.ndarray]:
    """Returns padded int tokens [2, S] and targets [2, T], ended by EOS (1)."""
    rng = np.random.default_rng(7)
    inputs = rng.integers(3, SHAPE["vocab_size"], size=(2, ENCODER_LENGTH))
    targets = rng.integers(3, SHAPE["vocab_size"], size=(2, DECODER_LENGTH))
    inputs[1, 90:], targets[1, 70:] = 0, 0
    inputs[0, -1] = inputs[1, 89] = targets[0, -1] = targets[1, 69] = 1
    return {"inputs": inputs, "targets": targets}
