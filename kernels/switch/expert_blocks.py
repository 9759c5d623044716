"""Block sizes of the Pallas kernels of the experts' feed-forward layer."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

# More is left to XLA, which keeps other arrays in VMEM.
_MOST_VMEM = 40 << 20
_MOST_COUNTS = 1 << 16  # In scalar memory, which has 1 MiB.


@dataclasses.dataclass(frozen=True)
class ExpertBlocks:
    """Block sizes of `expert_feed_forward` on a TPU.

    Attributes:
        hidden: columns of an expert's hidden width per program: all, or a divisor that
            is a multiple of 128.
    """

    hidden: int


@dataclasses.dataclass(frozen=True)
class ExpertShapes:
    """The shapes of a call, and its blocks. A program has an expert's rows of a part.

    Attributes:
        parts: groups of a part: all, or those that share a gradient of the weights.
        num_experts: E.
        capacity: C.
        width: d.
        hidden: columns of the hidden width per program.
        hidden_blocks: programs per expert.
        itemsize: bytes of an element.
        dropout: whether hidden rows have dropout.
    """

    parts: int
    num_experts: int
    capacity: int
    width: int
    hidden: int
    hidden_blocks: int
    itemsize: int
    dropout: bool

    @property
    def rows(self) -> int:
        """Rows of a program, a multiple of the rows of a bfloat16 register."""
        return -(-self.parts * self.capacity // 16) * 16

    @property
    def rows_shape(self) -> tuple[int, ...]:
        """The shape of a part's rows in memory."""
        return self.parts, self.num_experts, self.capacity, self.width

    def vmem_bytes(self, pass_name: str) -> int:
        """Returns an estimate of the VMEM of a program.

        Args:
            pass_name: "forward" or "backward".
        """
        lane = lanes.LANES
        width = -(-self.width // lane) * lane
        hidden = -(-self.hidden // lane) * lane
        tile = 32 // self.itemsize
        stored = self.parts * (-(-self.capacity // tile) * tile)
        weight, backward = width * hidden, pass_name == "backward"
        # Double-buffered: x and y, or x, y's gradient and x's gradient; wi and wo, and
        # their gradients.
        buffers = (3 if backward else 2) * stored * width
        buffers += (4 if backward else 2) * weight
        scratch = 4 * (3 if backward else 2) * self.rows * width
        # Hidden rows and their gradients in float32, and rounded; gradients of weights
        # in float32.
        values = (2 if backward else 1) * self.rows * hidden * (4 + self.itemsize)
        values += 4 * self.rows * width + (4 * weight if backward else 0)
        if self.dropout:  # Keys of the rows, and random bits.
            scratch += 4 * self.rows * lane
            values += 4 * self.rows * hidden
        return 2 * buffers * self.itemsize + scratch + values


def choose(
    chip: chips.Chip, pass_name: str, x: Any, wi: Any, groups: int, dropout: bool
) -> ExpertShapes:
    """Returns the sizes set by `kernels.block_sizes`, or as many columns as fit.

    Args:
        chip: the chip that the kernel is lowered for.
        pass_name: "forward" or "backward".
        x: [G, E, C, d], or its shape.
        wi: [1 or G, E, d, f], or its shape.
        groups: number of parts of the groups that have gradients of their own.
        dropout: whether hidden rows have dropout.

    Raises:
        ValueError: if the requested block size does not fit.
    """
    given = wrap.blocks(ExpertBlocks)
    sizes = _sizes(wi.shape[3])
    if given is not None:
        if given.hidden not in sizes:
            raise ValueError(
                f"ExpertBlocks: hidden: got {given.hidden}; accepted are "
                f"{', '.join(map(str, sizes))}"
            )
        return _shapes(x, groups, given.hidden, wi.shape[3], dropout)
    for hidden in sizes:
        made = _shapes(x, groups, hidden, wi.shape[3], dropout)
        if made.vmem_bytes(pass_name) <= _most(chip):
            break
    return made


def refusal(
    chip: chips.Chip, x: Any, wi: Any, counts: Any, groups: int, dropout: bool
) -> str | None:
    """Returns why the kernels of both passes do not support a call, or None.

    Args:
        chip: the chip that the kernel is lowered for.
        x: [G, E, C, d], or its shape.
        wi: [1 or G, E, d, f], or its shape.
        counts: [G, E], or its shape.
        groups: number of parts of the groups that have gradients of their own.
        dropout: whether hidden rows have dropout.
    """
    if (total := counts.shape[0] * counts.shape[1]) > _MOST_COUNTS:
        return f"it supports up to {_MOST_COUNTS} experts of all groups, got {total}"
    least = _shapes(x, groups, _sizes(wi.shape[3])[-1], wi.shape[3], dropout)
    needed = max(least.vmem_bytes(name) for name in ("forward", "backward"))
    if needed > _most(chip):
        return (
            f"{least.rows} rows of an expert, of width {least.width}, and "
            f"{least.hidden} hidden columns need about {-(-needed >> 20)} MiB of VMEM, "
            f"and on TPU {chip.name} it takes up to {_most(chip) >> 20} MiB"
        )
    return None


def vmem_limit_bytes(chip: chips.Chip, shapes: ExpertShapes, pass_name: str) -> int:
    """Returns the bytes of VMEM to request, with a margin.

    Args:
        chip: the chip that the kernel is lowered for.
        shapes: the shapes and blocks.
        pass_name: "forward" or "backward".
    """
    needed = shapes.vmem_bytes(pass_name)
    return min(needed + needed // 2 + (4 << 20), chip.info.vmem_capacity_bytes)


def _sizes(hidden: int) -> list[int]:
    """Returns the possible blocks of the hidden width, the largest first."""
    lane = lanes.LANES
    parts = [n for n in range(hidden - 1, 0, -1) if n % lane == 0 and hidden % n == 0]
    return [hidden, *parts]


def _shapes(
    x: Any, groups: int, hidden: int, all_hidden: int, dropout: bool
) -> ExpertShapes:
    return ExpertShapes(
        parts=x.shape[0] // groups,
        num_experts=x.shape[1],
        capacity=x.shape[2],
        width=x.shape[3],
        hidden=hidden,
        hidden_blocks=all_hidden // hidden,
        itemsize=jnp.dtype(x.dtype).itemsize,
        dropout=dropout,
    )


def _most(chip: chips.Chip) -> int:
    return min(_MOST_VMEM, 3 * chip.info.vmem_capacity_bytes // 4)
