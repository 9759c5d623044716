"""Shapes and batch of the golden values of the Switch Transformer."""

import numpy as np

from clinometer.tests.models.golden import weights

SHAPE = {
    **weights.SHAPE,
    "num_encoder_layers": 4,
    "num_decoder_layers": 4,
    "num_experts": 4,
}
# The length of inputs and targets, so that there is one capacity; rows are groups.
LENGTH = 20
AUX_LOSS_WEIGHT, Z_LOSS_WEIGHT = 0.03, 0.002
# variant -> capacity of an expert, in tokens per row
CAPACITIES = {"switch_roomy": LENGTH, "switch_dropping": 6}


def batch() -> dict[str, np.ndarray]:
    """Returns int tokens and targets [3, LENGTH], without padding."""
    rng = np.random.default_rng(11)
    inputs = rng.integers(3, SHAPE["vocab_size"], size=(3, LENGTH))
    targets = rng.integers(3, SHAPE["vocab_size"], size=(3, LENGTH))
    return {"inputs": inputs, "targets": targets}
