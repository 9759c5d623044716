"""How much of the sequence, and how many heads, a program of the TPU kernels takes."""

import dataclasses

from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

# Heads narrower than this are padded to it: a chunk is as long as a head is wide, and
# shorter ones fill no tile of bfloat16.
NARROWEST = 32
GROUP = 128  # positions whose denominators leave the kernel as one row of lanes
# Blocks of all operands and results, twice for the copies under way; the compiler
# grants 16 MiB to a kernel.
_VMEM_BYTES = 10 << 20
_ROWS = 2048  # more positions a program gain nothing; measured on v5e


@dataclasses.dataclass(frozen=True)
class PerformerBlocks:
    """Sizes of what one program takes; None lets the heuristic choose.

    Attributes:
        rows: positions of causal attention, a multiple of 128.
        tiles: groups of heads that fill 128 lanes (or a wider head).
    """

    rows: int | None = None
    tiles: int | None = None


@dataclasses.dataclass(frozen=True)
class Layout:
    """How heads and positions lie in the kernels' arrays, [B, length, lanes].

    Attributes:
        width: of a head, before padding.
        lanes: that a head takes.
        num_tiles: tiles of whole heads in an array.
        tiles: of them, in a program.
        length: of the sequence, padded.
        rows: positions of a program.
    """

    width: int
    lanes: int
    num_tiles: int
    tiles: int
    length: int
    rows: int

    @property
    def heads(self) -> int:
        """Heads of a tile."""
        return lanes.heads_per_tile(self.lanes)

    @property
    def tile(self) -> int:
        """Lanes of a tile."""
        return lanes.tile_lanes(self.lanes)

    @property
    def chunk(self) -> int:
        """Positions of a chunk: the keys of all heads of a tile fill 128 lanes."""
        return lanes.LANES // self.heads

    @property
    def group(self) -> int:
        """Positions of a group of whole chunks."""
        return min(GROUP, self.rows)


def head_lanes(width: int) -> int:
    """Returns the lanes that a head takes."""
    return lanes.padded_width(max(width, NARROWEST))


def padded(length: int, width: int) -> int:
    """Returns a length in whole chunks, or whole groups if there are several."""
    chunk = min(head_lanes(width), lanes.LANES)
    unit = chunk if length <= GROUP else GROUP
    return -(-length // unit) * unit


def most_rows(width: int, row_bytes: int) -> int:
    """Returns the positions that a program takes at most, of one tile.

    Args:
        width: of a head.
        row_bytes: of one position and lane of all operands and results.
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

    A program takes up to 2048 positions and, of the tiles, the most that divide them
    and fit into VMEM: few and large programs hide their copies best. The same for all
    chips, whose compilers grant a kernel the same VMEM.

    Args:
        chip: what the kernel is lowered for.
        length: of the sequence.
        num_heads: heads.
        width: of a head.
        row_bytes: of one position and lane of all operands and results.
        whole: a program takes all positions.

    Raises:
        ValueError: if requested block sizes do not fit; says which.
    """
    del chip
    head = head_lanes(width)
    tile = lanes.tile_lanes(head)
    num_tiles = -(-num_heads // lanes.heads_per_tile(head))
    asked = wrap.blocks(PerformerBlocks) or PerformerBlocks()
    size = padded(length, width)
    budget = _VMEM_BYTES // (2 * row_bytes * tile)  # rows of a tile
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
