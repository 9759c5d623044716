"""The Pallas relative attention: when it runs, and FLOPs."""

import functools
from typing import Any

from clinometer.kernels import context
from clinometer.kernels.relative_attention import tpu_backward
from clinometer.kernels.relative_attention import tpu_forward
from clinometer.kernels.relative_attention import tpu_tile
from clinometer.kernels.relative_attention import tpu_tiling
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import wrap

# Queries are padded to 128: with fewer than these, most of the work is wasted.
_FEW_QUERIES = 16

# The numbers of products that contract over a head's width, and over queries or keys.
# The former use all lanes of a tile, with zeros for other heads.
_PRODUCTS = {"forward": (1, 1), "backward": (2, 3)}


def _refuse(
    pass_name: str, chip: chips.Chip, query: Any, multiplier: Any, **given: Any
) -> str | None:
    if multiplier.size:
        return "dropout that is not shared by the queries needs all weights at once"
    with context.block_sizes(()), context.target(chip.device_kind):
        t = _tiling(pass_name, query, **given)  # By the heuristic.
    needed = tpu_tiling.vmem_bytes(t, pass_name, query.dtype)
    if needed > chip.info.vmem_capacity_bytes:
        return (
            f"{t.num_queries} queries of width {query.shape[3]} need about "
            f"{needed >> 20} MiB of VMEM, but TPU {chip.name} has "
            f"{chip.info.vmem_capacity_bytes >> 20} MiB"
        )
    return None


def _avoid(chip: chips.Chip, query: Any, **_: Any) -> str | None:
    del chip
    if query.shape[1] < _FEW_QUERIES:
        return f"it pads {query.shape[1]} queries to 128, and XLA does not"
    return None


def _tiling(
    pass_name: str,
    query: Any,
    key: Any,
    bias: Any,
    query_segments: Any,
    key_segments: Any,
    offset: Any,
    causal: bool,
    masked: bool,
    groups: int,
    **_: Any,
) -> tpu_tiling.Tiling:
    return tpu_tiling.tiling(
        pass_name,
        query,
        key,
        bias,
        query_segments,
        key_segments,
        offset,
        causal=causal,
        masked=masked,
        groups=groups if pass_name == "backward" else 1,
    )


def _executed(pass_name: str, **given: Any) -> int:
    """Returns the FLOPs, including padding; if causal, those for an offset of 0."""
    t = _tiling(pass_name, **given)
    scores = 0
    for i in range(t.query_blocks):
        for j in range(t.key_blocks):
            block = tpu_tile.Block(t, None, 0, i, j)
            form = block.static_form()
            for column in range(0, t.query, t.columns) if form else ():
                scores += sum(tile.size for tile in block.tiles(column, form))
    whole, own = _PRODUCTS[pass_name]
    heads = t.tiles * t.heads
    return 2 * t.batch * heads * scores * (whole * t.lanes + own * t.width)


FORWARD = wrap.implementation(
    tpu_forward.forward,
    functools.partial(_executed, "forward"),
    functools.partial(_refuse, "forward"),
    _avoid,
)
BACKWARD = wrap.implementation(
    tpu_backward.backward,
    functools.partial(_executed, "backward"),
    functools.partial(_refuse, "backward"),
    _avoid,
)
