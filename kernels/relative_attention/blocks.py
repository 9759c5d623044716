"""Block sizes of the Pallas relative attention kernels."""

import dataclasses
import math

from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

_LANES = lanes.LANES


@dataclasses.dataclass(frozen=True)
class AttentionBlocks:
    """Block sizes of relative attention on a TPU; None lets the heuristic choose.

    Attributes:
        query: queries per block, a multiple of 128, at most the number of queries
            (rounded up to a multiple of 128).
        key: keys per block, likewise. With a single block of all keys, sums stay in
            the program.
        batch: examples per program, a divisor of the batch.
    """

    query: int | None = None
    key: int | None = None
    batch: int | None = None


@dataclasses.dataclass(frozen=True)
class _Limits:
    """The heuristic's limits for a pass, with the fewest simulated cycles on v5e.

    Attributes:
        query: maximum queries per block.
        key: maximum keys per block.
        causal: maximum of either if causal; square blocks can be skipped whole.
        scores: maximum queries x keys x heads per block, whose code is unrolled.
        program: the same for a program with several examples.
    """

    query: int
    key: int
    causal: int
    scores: int
    program: int


_LIMITS = {
    "forward": _Limits(512, 2048, 1024, scores=1 << 21, program=1 << 21),
    "backward": _Limits(1024, 1024, 1024, scores=1 << 21, program=1 << 20),
}


def choose(
    pass_name: str,
    *,
    batch: int,
    num_queries: int,
    num_keys: int,
    heads: int,
    causal: bool,
    shares_bias: bool,
    smaller: int = 1,
) -> AttentionBlocks:
    """Returns the block sizes of a call, with all sizes set.

    Few large programs are best, because a grid step costs a few hundred cycles. A block
    of queries has all keys, up to 2048, and the remaining room is used for more
    examples. If causal, blocks are square, so that those above the diagonal can be
    skipped whole.

    Args:
        pass_name: "forward" or "backward".
        batch: the number of examples whose bias gradients are summed.
        num_queries: T.
        num_keys: S.
        heads: the number of heads that share a tile of lanes.
        causal: whether blocks above the diagonal are skipped.
        shares_bias: whether all examples have the same bias, or none.
        smaller: divisor of the limits for chips with little memory: 1, 2 or 4.

    Raises:
        ValueError: if a size set by `kernels.block_sizes` does not fit; says which.
    """
    limits = _LIMITS[pass_name]
    given = wrap.blocks(AttentionBlocks) or AttentionBlocks()
    query = _given("query", given.query, num_queries)
    key = _given("key", given.key, num_keys)
    if causal:
        side = limits.causal // smaller
        while side * side * heads > limits.scores:
            side //= 2
        query = query or _even(num_queries, side)
        # A single block, or square blocks.
        is_cut = query < num_queries
        key = key or (min(query, _round_up(num_keys)) if is_cut else 0)
        key = key or _even(num_keys, side)
    else:
        key = key or _even(num_keys, limits.key // smaller)
        most = max(_LANES, limits.scores // (key * heads) // _LANES * _LANES)
        query = query or _even(num_queries, min(limits.query // smaller, most))
    per_example = query * key * heads
    most_examples = max(1, limits.program // smaller**2 // per_example)
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
    return AttentionBlocks(query, key, examples)


def _round_up(size: int, multiple: int = _LANES) -> int:
    return -(-size // multiple) * multiple


def _even(size: int, most: int) -> int:
    """Returns the block size, at most `most`, that cuts `size` with least padding."""
    pieces = math.ceil(size / most)
    return _round_up(math.ceil(size / pieces))


def _given(name: str, size: int | None, length: int) -> int | None:
    if size is not None and (size < 1 or size % _LANES or size > _round_up(length)):
        raise ValueError(
            f"AttentionBlocks.{name}: got {size}, accepted are multiples of {_LANES} "
            f"up to {_round_up(length)}"
        )
    return size
