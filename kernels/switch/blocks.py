"""How many tokens a program of the routing kernels takes."""

import dataclasses

from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

# Logits of a block. On v5e 4096 tokens of 32 experts cost as much in one program as in
# two, and more in four; each register of a block is some 25 instructions of code.
_MOST_ELEMENTS = 1 << 16
_MOST_EXPERTS = _MOST_ELEMENTS // lanes.LANES


@dataclasses.dataclass(frozen=True)
class RouteBlocks:
    """Block sizes of `switch_route` on a TPU.

    Attributes:
        tokens: of a group that one program takes, a multiple of 128.
    """

    tokens: int


def choose(chip: chips.Chip, num_tokens: int, num_experts: int) -> RouteBlocks:
    """Returns what `kernels.block_sizes` names, or as many tokens as fit.

    A group is one program up to 2^16 logits, on every chip: a program costs hundreds of
    cycles to start, so few do better than many.

    Raises:
        ValueError: the sizes that are named do not fit; says which.
    """
    del chip
    most = _MOST_ELEMENTS // (-(-num_experts // 8) * 8) // lanes.LANES * lanes.LANES
    whole = -(-num_tokens // lanes.LANES) * lanes.LANES
    given = wrap.blocks(RouteBlocks)
    if given is None:
        return RouteBlocks(min(most, whole))
    if given.tokens < 1 or given.tokens % lanes.LANES or given.tokens > most:
        raise ValueError(
            f"RouteBlocks: tokens: got {given.tokens}; accepted are multiples of "
            f"{lanes.LANES} up to {most}, with {num_experts} experts"
        )
    return given


def refusal(num_experts: int) -> str | None:
    """Why the kernels do not take so many experts, or None."""
    if num_experts > _MOST_EXPERTS:
        return f"it takes up to {_MOST_EXPERTS} experts, got {num_experts}"
    return None
