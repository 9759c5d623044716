"""Block sizes and data layout of the Pallas Performer kernels."""

import dataclasses

from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

# Narrower heads are padded to this width: a chunk is as long as a head is wide, and
# shorter chunks do not fill a bfloat16 tile.
NARROWEST = 32
GROUP = 128  # Positions whose denominators are written as one row of lanes.
# For the double-buffered blocks of all operands and results; the compiler grants a
# kernel 16 MiB.
_VMEM_BYTES = 10 << 20
_ROWS = 2048  # More positions per program gain nothing; measured on v5e.


@dataclasses.dataclass(frozen=True)
class PerformerBlocks:
    """Block sizes of one program; None lets the heuristic choose.

    Attributes:
        rows: positions, for causal attention, a multiple of 128.
        tiles: the number of groups of heads that fill 128 lanes (or of wider heads).
    """

    rows: int | None = None
    tiles: int | None = None


@dataclasses.dataclass(frozen=True)
class Layout:
    """The layout of heads and positions in the kernels' arrays, [B, length, lanes].

    Attributes:
        width: head width, before padding.
        lanes: lanes per head.
        num_tiles: tiles (of whole heads) in an array.
        tiles: tiles per program.
        length: length of the sequence, padded.
        rows: positions per program.
    """

    width: int
    lanes: int
    num_tiles: int
    tiles: int
    length: int
    rows: int

    @property
    def heads(self) -> int:
        """Heads per tile."""
        return lanes.heads_per_tile(self.lanes)

    @property
    def tile(self) -> int:
        """Lanes per tile."""
        return lanes.tile_lanes(self.lanes)

    @property
    def chunk(self) -> int:
        """Positions per chunk, so that the keys of a tile's heads fill 128 lanes."""
        return lanes.LANES // self.heads

    @property
    def group(self) -> int:
        """Positions per group of whole chunks."""
        return min(GROUP, self.rows)


def head_lanes(width: int) -> int:
    """Returns the number of lanes of a head."""
    return lanes.padded_width(max(width, NARROWEST))


def padded(length: int, width: int) -> int:
    """Returns a length padded to whole chunks, or to whole groups if it exceeds one.

    Args:
        length: length of the sequence.
        width: head width.
    """
    chunk = min(head_lanes(width), lanes.LANES)
    unit = chunk if length <= GROUP else GROUP
    return -(-length // unit) * unit


def most_rows(width: int, row_bytes: int) -> int:
    """Returns the maximum positions of one tile per program.

    Args:
        width: head width.
        row_bytes: bytes per position and lane of all operands and results.
    """
    tile = lanes.tile_lanes(head_lanes(width))
    return min(_ROWS, _VMEM_BYTES // (2 * row_bytes * tile) // GROUP * GROUP)


def choose(
    chip: chips.Chip,
    length: int,
    num_heads: int,
    width: int,
    row_bytes: int,
    whole: bool = False,
) -> Layout:
    """Returns the layout of a sequence.

    A program takes up to 2048 positions and the largest divisor of the number of tiles
    that fits into VMEM, because few large programs hide copies best. The result is the
    same for all chips, since their compilers grant a kernel the same VMEM.

    Args:
        chip: the chip that the kernel is lowered for.
        length: length of the sequence.
        num_heads: number of heads.
        width: head width.
        row_bytes: bytes per position and lane of all operands and results.
        whole: whether a program takes all positions.

    Raises:
        ValueError: if requested block sizes do not fit; says which.
    """
    del chip
    head = head_lanes(width)
    tile = lanes.tile_lanes(head)
    num_tiles = -(-num_heads // lanes.heads_per_tile(head))
    asked = wrap.blocks(PerformerBlocks) or PerformerBlocks()
    size = padded(length, width)
    budget = _VMEM_BYTES // (2 * row_bytes * tile)  # Rows of one tile.
    rows = size if whole else asked.rows
    if rows is None:
        count = -(-size // max(GROUP, most_rows(width, row_bytes)))
        rows = padded(-(-size // count), width)
    elif not whole and (rows % GROUP or not GROUP <= rows <= max(GROUP, size)):
        raise ValueError(
            f"PerformerBlocks: rows: got {rows}; accepted are multiples of {GROUP} up "
            f"to the padded length of {size}"
        )
    size = -(-size // rows) * rows
    tiles = asked.tiles
    if tiles is None:
        fitting = [n for n in range(1, num_tiles + 1) if not num_tiles % n]
        tiles = max([n for n in fitting if n * rows <= budget] or [1])
    elif tiles < 1 or num_tiles % tiles:
        raise ValueError(
            f"PerformerBlocks: tiles: got {tiles}; accepted are divisors of the "
            f"{num_tiles} tiles of {num_heads} heads"
        )
    if asked != PerformerBlocks() and tiles * rows > budget:
        raise ValueError(
            f"PerformerBlocks: rows {rows} and tiles {tiles} need "
            f"{2 * row_bytes * tile * tiles * rows >> 20} MiB of VMEM; accepted are "
            f"sizes for {_VMEM_BYTES >> 20} MiB"
        )
    return Layout(width, head, num_tiles, tiles, size, rows)
