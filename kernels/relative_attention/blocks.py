"""Into which blocks the TPU kernels of relative attention cut a call."""

import dataclasses
import math

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
    """What a pass takes by itself: the fewest simulated cycles on v5e.

    Attributes:
        query: most queries of a block.
        key: most keys of a block.
        causal: most of either where causal; squares are skipped whole.
        scores: most queries x keys x heads of a block; its code is unrolled.
        program: most of them in a program of more than one example.
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
    """Returns the blocks of a call, all sizes set.

    Few fat programs: a step of the grid costs some hundred cycles. A block of queries
    has all keys, up to 2048 of them, and what room is left takes more examples. Where
    causal, blocks are square, so that those above the diagonal are skipped whole.

    Args:
        pass_name: "forward" or "backward".
        batch: examples whose gradient of the bias is summed together.
        num_queries: T.
        num_keys: S.
        heads: that share a tile of lanes.
        causal: blocks above the diagonal are skipped.
        shares_bias: all examples have the same bias, or none.
        smaller: divides what is taken by itself, for chips of little memory; 1, 2, 4.

    Raises:
        ValueError: `wrap.blocks` names a size that does not fit; says which.
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
        # One block of each, or square ones.
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
