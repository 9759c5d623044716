"""Into which blocks the TPU kernels of relative attention cut a call."""

import dataclasses
import math

from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

_LANES = lanes.LANES


@dataclasses.dataclass(frozen=True)
class AttentionBlocks:
    """Sizes of relative attention's blocks on a TPU; None leaves one to the heuristic.

    Attributes:
        query: queries of a block, a multiple of 128, no more than there are (rounded
            up to 128).
        key: keys of a block, likewise. One block of all keys needs no running maximum.
        batch: examples that one program does, a divisor of the batch.
    """

    query: int | None = None
    key: int | None = None
    batch: int | None = None


@dataclasses.dataclass(frozen=True)
class _Limits:
    """What a pass takes by itself: measured on v5e by simulated cycles."""

    query: int  # most queries of a block
    key: int  # most keys of a block
    causal: int  # most of either where causal: a finer staircase skips more
    scores: int  # most queries x keys x heads of a program; its code is unrolled


LIMITS = {
    "forward": _Limits(query=512, key=2048, causal=1024, scores=1 << 21),
    "backward": _Limits(query=512, key=512, causal=512, scores=1 << 20),
}


def choose(
    chip: chips.Chip,
    pass_name: str,
    *,
    batch: int,
    num_queries: int,
    num_keys: int,
    heads: int,
    lane_width: int,
    item_bytes: int,
    causal: bool,
    shares_bias: bool,
) -> AttentionBlocks:
    """Returns the blocks of a call, all sizes set.

    Few fat programs: a step of the grid costs some hundred cycles. A block of queries
    has all keys, up to 2048 of them, and what room is left takes more examples. Where
    causal, blocks are square, so that those above the diagonal are skipped whole.

    Args:
        chip: whose memory they must fit.
        pass_name: "forward" or "backward".
        batch: examples whose gradient of the bias is summed together.
        num_queries: T.
        num_keys: S.
        heads: that share a tile of lanes.
        lane_width: lanes of a tile.
        item_bytes: of an element.
        causal: blocks above the diagonal are skipped.
        shares_bias: all examples have the same bias, or none.

    Raises:
        ValueError: `wrap.blocks` names a size that does not fit; says which.
    """
    limits = LIMITS[pass_name]
    most_queries = limits.causal if causal else limits.query
    most_keys = limits.causal if causal else limits.key
    given = wrap.blocks(AttentionBlocks) or AttentionBlocks()
    query = _given("query", given.query, num_queries) or _even(
        num_queries, most_queries
    )
    key = _given("key", given.key, num_keys)
    if key is None:
        key = _even(num_keys, most_keys)
        if causal and query < _round_up(num_queries):
            key = min(query, _round_up(num_keys))
    per_example = query * key * heads
    most_examples = max(1, limits.scores // per_example)
    if given.batch is not None:
        if given.batch < 1 or batch % given.batch or not shares_bias:
            accepted = f"a divisor of {batch}" if shares_bias else "1"
            raise ValueError(
                f"AttentionBlocks.batch: got {given.batch}, accepted is {accepted}"
            )
        examples = given.batch
    else:
        is_whole = key >= num_keys
        examples = 1
        if is_whole and shares_bias:
            examples = max(n for n in range(1, most_examples + 1) if batch % n == 0)
    found = AttentionBlocks(query, key, examples)
    needed = vmem_bytes(found, pass_name, num_queries, heads, lane_width, item_bytes)
    if needed > chip.info.vmem_capacity_bytes:
        raise ValueError(
            f"AttentionBlocks: query={query}, key={key}, batch={examples} need about "
            f"{needed >> 20} MiB of VMEM, TPU {chip.name} has "
            f"{chip.info.vmem_capacity_bytes >> 20}; give smaller ones"
        )
    return found


def vmem_bytes(
    blocks: AttentionBlocks,
    pass_name: str,
    num_queries: int,
    heads: int,
    lane_width: int,
    item_bytes: int,
) -> int:
    """Returns about how much VMEM a program of these blocks needs."""
    query, key, examples = blocks.query, blocks.key, blocks.batch
    assert query and key and examples
    rows = {"forward": 2 * query + 2 * key, "backward": 4 * query + 4 * key}[pass_name]
    buffers = 2 * examples * rows * lane_width * item_bytes
    band = heads * _LANES * (query + key) * 4
    scores = 2 * key * min(query, 256) * 4
    running = lane_width * query * 4
    if pass_name == "backward":
        band *= 2
        running = lane_width * (_round_up(num_queries) + 2 * key) * 4
    return buffers + band + 2 * scores + running


def _round_up(size: int, multiple: int = _LANES) -> int:
    return -(-size // multiple) * multiple


def _even(size: int, most: int) -> int:
    """Returns the block, at most so large, that cuts a length with least padding."""
    pieces = math.ceil(size / most)
    return _round_up(math.ceil(size / pieces))


def _given(name: str, size: int | None, length: int) -> int | None:
    if size is not None and (size < 1 or size % _LANES or size > _round_up(length)):
        raise ValueError(
            f"AttentionBlocks.{name}: got {size}, accepted are multiples of {_LANES} "
            f"up to {_round_up(length)}"
        )
    return size
