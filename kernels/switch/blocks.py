"""Block sizes of the Pallas routing kernels."""

import dataclasses

from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

# Logits per program. On v5e, 4096 tokens and 32 experts cost as much in one program as
# in two, and more in four; each register of a block is about 25 instructions of code.
_MOST_ELEMENTS = 1 << 16
_MOST_EXPERTS = _MOST_ELEMENTS // lanes.LANES


@dataclasses.dataclass(frozen=True)
class RouteBlocks:
    """Block sizes of `switch_route` on a TPU.

    Attributes:
        tokens: tokens of a group per program, a multiple of 128.
        groups: groups per program, a divisor of all; more than 1 only for whole groups.
    """

    tokens: int
    groups: int = 1


def choose(
    chip: chips.Chip, groups: int, num_tokens: int, num_experts: int
) -> RouteBlocks:
    """Returns the sizes set by `kernels.block_sizes`, or as many tokens as fit.

    A program takes up to 2^16 logits on every chip, from several groups if they are
    short. Starting a program costs hundreds of cycles, so fewer programs are better.

    Args:
        chip: the chip that the kernel is lowered for.
        groups: G.
        num_tokens: N, tokens per group.
        num_experts: E.

    Raises:
        ValueError: if requested block sizes do not fit; says which.
    """
    del chip
    lane = lanes.LANES
    most = _MOST_ELEMENTS // (-(-num_experts // 8) * 8) // lane * lane
    whole = -(-num_tokens // lane) * lane
    given = wrap.blocks(RouteBlocks)
    if given is None:
        at_once = min(groups, max(1, most // whole))
        while groups % at_once:
            at_once -= 1
        return RouteBlocks(min(most, whole), at_once)
    if given.tokens < 1 or given.tokens % lane or given.tokens > most:
        raise ValueError(
            f"RouteBlocks: tokens: got {given.tokens}; accepted are multiples of "
            f"{lane} up to {most}, with {num_experts} experts"
        )
    if given.groups < 1 or groups % given.groups:
        raise ValueError(
            f"RouteBlocks: groups: got {given.groups}; accepted are divisors of "
            f"{groups}"
        )
    if given.groups > 1 and given.tokens < num_tokens:
        raise ValueError(
            f"RouteBlocks: groups: got {given.groups} in blocks of {given.tokens} "
            f"tokens; accepted is 1, or tokens from {num_tokens} on"
        )
    return given


def refusal(num_experts: int) -> str | None:
    """Returns why the kernels do not support this many experts, or None."""
    if num_experts > _MOST_EXPERTS:
        return f"it supports up to {_MOST_EXPERTS} experts, got {num_experts}"
    return None
