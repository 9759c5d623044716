"""Lower bounds on the cycles of Performer attention on a TPU."""

from collections.abc import Mapping
from typing import Any

from clinometer.kernels.performer_attention import blocks
from clinometer.kernels.performer_attention import specs
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import roofline


def forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of the forward pass.

    Args:
        chip: the chip that runs the kernel.
        operands: arrays or their shapes, by name.
        settings: settings by name.
    """
    query, causal = operands["query"], settings["causal"]
    within, states = _products(chip, query, operands["key"])
    # Causal: weights and their products with values, within a chunk. Both: every query
    # reads a state, and every key is added to one.
    mxu = (2 * within if causal else 0.0) + within + states
    # phi of queries and keys (2 each), the sum in the numerator and its product with
    # 1 / x; causal weights are masked.
    operations = 6 + causal
    size = specs.FORWARD.bytes(operands, settings)
    return _roofline(chip, query, mxu, operations, size)


def backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of the backward pass; see `forward`."""
    query, causal = operands["query"], settings["causal"]
    within, states = _products(chip, query, operands["key"])
    # Each of the three gradients reads one of two states. If causal, each also has a
    # product within a chunk, with its own weights.
    mxu = (6 * within if causal else 0.0) + 3 * within + 2 * states
    # phi as before, gradients times 1 / x and times the output (2), three sums, two
    # masks by the sign of an operand; causal weights are masked three times.
    operations = 4 + 2 + 3 + 2 + 3 * causal
    size = specs.BACKWARD.bytes(operands, settings)
    return _roofline(chip, query, mxu, operations, size)


def _products(chip: chips.Chip, query: Any, key: Any) -> tuple[float, float]:
    """Returns the cycles of all queries times a tile, and of all keys into a state."""
    batch, num_queries, num_heads, width = query.shape
    head = blocks.head_lanes(width)
    tile = lanes.tile_lanes(head)
    tiles = batch * -(-num_heads // lanes.heads_per_tile(head))
    return (
        tiles * roofline.mxu_cycles(chip, num_queries, tile, tile),
        tiles * roofline.mxu_cycles(chip, tile, key.shape[1], tile),
    )


def _roofline(
    chip: chips.Chip, query: Any, mxu: float, operations: int, size: int
) -> roofline.Roofline:
    batch, num_queries, num_heads, width = query.shape
    elements = batch * num_queries * num_heads * blocks.head_lanes(width)
    return roofline.Roofline(
        mxu=mxu,
        vpu=roofline.vpu_cycles(elements, operations),
        # 1 / x per query and head.
        eup=roofline.eup_cycles(batch * num_queries * num_heads),
        hbm=roofline.hbm_cycles(chip, size),
    )
