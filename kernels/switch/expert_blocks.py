"""Block sizes of the Pallas kernels of the experts' feed-forward layer."""

import dataclasses
import itertools
from typing import Any

import jax.numpy as jnp

from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

# More is left to XLA, which keeps other arrays in VMEM.
_MOST_VMEM = 40 << 20
# More rows, which need more registers, are slower than reading the weights again, and
# backward also than summing more gradients.
_MOST_ROWS = {"forward": 320, "backward": 1280}
_MOST_COUNTS = 1 << 16  # In scalar memory, which has 1 MiB.


@dataclasses.dataclass(frozen=True)
class ExpertBlocks:
    """Block sizes of `expert_feed_forward` on a TPU.

    Attributes:
        hidden: columns of an expert's hidden width per program: all, or a divisor that
            is a multiple of 128.
        pieces: number of programs among which the groups are divided, a divisor of
            their number.
    """

    hidden: int
    pieces: int = 1


@dataclasses.dataclass(frozen=True)
class ExpertShapes:
    """The shapes of a call, and its blocks. A program has an expert's rows of a piece.

    A part of the groups is all, or those that share a gradient of the weights. It is
    divided into pieces, whose gradients are summed outside of the kernel.

    Attributes:
        parts: groups of a piece.
        pieces: pieces of a part.
        num_experts: E.
        capacity: C.
        width: d.
        hidden: columns of the hidden width per program.
        hidden_blocks: programs per expert.
        itemsize: bytes of an element.
        dropout: whether hidden rows have dropout.
    """

    parts: int
    pieces: int
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
        """The shape of a piece's rows in memory."""
        return self.parts, self.num_experts, self.capacity, self.width

    @property
    def grad_itemsize(self) -> int:
        """Bytes of an element of the weights' gradients: float32 if they are summed."""
        return self.itemsize if self.pieces == 1 else 4

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
        # Double-buffered: x and y, or x, y's gradient and x's gradient; wi and wo; and
        # the gradients of wi and wo below.
        buffers = (3 if backward else 2) * stored * width
        buffers += 2 * weight
        scratch = 4 * (3 if backward else 2) * self.rows * width
        # Hidden rows and their gradients in float32, and rounded; gradients of weights
        # in float32.
        values = (2 if backward else 1) * self.rows * hidden * (4 + self.itemsize)
        values += 4 * self.rows * width + (4 * weight if backward else 0)
        if self.dropout:  # Keys of the rows, and random bits.
            scratch += 4 * self.rows * lane
            values += 4 * self.rows * hidden
        if backward:
            values += 2 * 2 * weight * self.grad_itemsize
        return 2 * buffers * self.itemsize + scratch + values


def choose(
    chip: chips.Chip, pass_name: str, x: Any, wi: Any, groups: int, dropout: bool
) -> ExpertShapes:
    """Returns the sizes set by `kernels.block_sizes`, or the largest that fit.

    Pieces are as few as possible, since each reads the weights, but have few rows.

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
    sizes, pieces = _sizes(wi.shape[3]), _pieces(x.shape[0] // groups)
    if given is not None:
        for field, accepted in (("hidden", sizes), ("pieces", pieces)):
            if (got := getattr(given, field)) not in accepted:
                raise ValueError(
                    f"ExpertBlocks: {field}: got {got}; accepted are "
                    f"{', '.join(map(str, accepted))}"
                )
        return _shapes(x, wi, groups, given.pieces, given.hidden, dropout)
    for count, hidden in itertools.product(pieces, sizes):
        made = _shapes(x, wi, groups, count, hidden, dropout)
        few = made.parts == 1 or made.rows <= _MOST_ROWS[pass_name]
        if few and made.vmem_bytes(pass_name) <= _most(chip):
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
    pieces, hidden = _pieces(x.shape[0] // groups)[-1], _sizes(wi.shape[3])[-1]
    least = _shapes(x, wi, groups, pieces, hidden, dropout)
    needed = max(least.vmem_bytes(name) for name in ("forward", "backward"))
    if needed > _most(chip):
        return (
            f"{least.rows} rows of a group and expert, of width {least.width}, and "
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


def _pieces(groups: int) -> list[int]:
    """Returns the possible numbers of pieces of so many groups, the smallest first."""
    return [n for n in range(1, groups + 1) if groups % n == 0]


def _shapes(
    x: Any, wi: Any, groups: int, pieces: int, hidden: int, dropout: bool
) -> ExpertShapes:
    return ExpertShapes(
        parts=x.shape[0] // groups // pieces,
        pieces=pieces,
        num_experts=x.shape[1],
        capacity=x.shape[2],
        width=x.shape[3],
        hidden=hidden,
        hidden_blocks=wi.shape[3] // hidden,
        itemsize=jnp.dtype(x.dtype).itemsize,
        dropout=dropout,
    )


def _most(chip: chips.Chip) -> int:
    return min(_MOST_VMEM, 3 * chip.info.vmem_capacity_bytes // 4)
