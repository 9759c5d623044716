"""How much of a sequence and its channels a program of the TPU convolutions takes."""

import dataclasses

from clinometer.kernels.convolution import reference
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

UNIT = 16  # positions of a register of bfloat16
# Blocks, twice for the copies under way, and scratch; the compiler grants 16 MiB.
_VMEM_BYTES = 12 << 20
_PROGRAM_BYTES = 1 << 20  # of x in a program; larger ones hide no more of their copies


@dataclasses.dataclass(frozen=True)
class ConvolutionBlocks:
    """Sizes of what one program takes; None leaves a size to the heuristic.

    Attributes:
        rows: positions, a multiple of 16; longer sequences are cut into overlapping
            pieces. At least 256 if less than the sequence.
        tiles: of light_conv, groups of channels that fill 128 lanes (or a wider head).
    """

    rows: int | None = None
    tiles: int | None = None


@dataclasses.dataclass(frozen=True)
class Band:
    """A product of a band of weights with a window of positions.

    Row r of the band has the weights of output r of a block; the window begins
    `before` positions earlier than the block.

    Attributes:
        taps: K.
        left: positions that the first tap reaches back.
    """

    taps: int
    left: int

    @property
    def right(self) -> int:
        """Positions that the last tap reaches ahead."""
        return self.taps - 1 - self.left

    @property
    def before(self) -> int:
        """Positions of the window before the block, in whole registers."""
        return -(-self.left // UNIT) * UNIT

    @property
    def rows(self) -> int:
        """Outputs of a block: what a window of 128 has room for."""
        return (lanes.LANES - self.before - self.right) // UNIT * UNIT

    @property
    def offset(self) -> int:
        """Column of the first tap in row 0."""
        return self.before - self.left

    @property
    def mirrored(self) -> "Band":
        """The band with the taps in reverse, that takes gradients back."""
        return Band(self.taps, self.right)

    def extended(self, length: int) -> int:
        """Returns the positions of all windows of a sequence."""
        return length + lanes.LANES


@dataclasses.dataclass(frozen=True)
class Layout:
    """How heads and positions lie in the kernels' arrays, [B, length, lanes].

    Attributes:
        lanes: that a head takes.
        num_heads: H.
        num_tiles: tiles of whole heads in an array.
        tiles: of them, in a program.
        length: of a piece, padded.
        step: positions from one piece to the next; `length` if there is one.
        halo: positions of a piece before its own, and after.
    """

    lanes: int
    num_heads: int
    num_tiles: int
    tiles: int
    length: int
    step: int
    halo: int

    @property
    def heads(self) -> int:
        """Heads of a tile."""
        return lanes.heads_per_tile(self.lanes)

    @property
    def tile(self) -> int:
        """Lanes of a tile."""
        return lanes.tile_lanes(self.lanes)


def band(taps: int, causal: bool) -> Band:
    """Returns the band of an output's weights."""
    return Band(taps, reference.pads(taps, causal)[0])


def choose(
    chip: chips.Chip,
    length: int,
    num_heads: int,
    channels: int,
    taps: int,
    row_bytes: int,
    whole: bool = False,
) -> Layout:
    """Returns the layout of a sequence.

    A program takes as much as fits into VMEM up to 1 MiB of x; a sequence that does not
    fit with one tile is cut. The same for all chips, whose compilers grant a kernel the
    same VMEM.

    Args:
        chip: what the kernel is lowered for.
        length: S.
        num_heads: H.
        channels: d.
        taps: K.
        row_bytes: of VMEM for one position and lane.
        whole: a program takes all tiles.

    Raises:
        ValueError: sizes that were asked for do not fit; says which.
    """
    del chip
    head = lanes.padded_width(channels // num_heads)
    tile = lanes.tile_lanes(head)
    num_tiles = -(-num_heads // lanes.heads_per_tile(head))
    asked = wrap.blocks(ConvolutionBlocks) or ConvolutionBlocks()
    least = num_tiles if whole else (asked.tiles or 1)
    budget = _VMEM_BYTES // (row_bytes * tile)  # rows of one tile
    size = -(-length // UNIT) * UNIT
    rows = asked.rows
    if rows is None:
        rows = max(256, min(size, budget // least // UNIT * UNIT))
    elif rows % UNIT or not min(size, 256) <= rows:
        raise ValueError(
            f"ConvolutionBlocks: rows: got {rows}; accepted are multiples of {UNIT}, "
            f"at least 256 or the padded length of {size}"
        )
    rows = min(rows, size)
    tiles = least
    if asked.tiles is not None and (asked.tiles < 1 or num_tiles % asked.tiles):
        raise ValueError(
            f"ConvolutionBlocks: tiles: got {asked.tiles}; accepted are divisors of "
            f"the {num_tiles} tiles of {num_heads} heads"
        )
    if not whole and asked.tiles is None:
        some = min(budget, _PROGRAM_BYTES // (2 * tile))
        fitting = [n for n in range(1, num_tiles + 1) if not num_tiles % n]
        tiles = max([n for n in fitting if n * rows <= some] or [1])
    if asked != ConvolutionBlocks() and tiles * rows > max(budget, 256 * least):
        raise ValueError(
            f"ConvolutionBlocks: rows {rows} and tiles {tiles} need "
            f"{row_bytes * tile * tiles * rows >> 20} MiB of VMEM; accepted are sizes "
            f"for {_VMEM_BYTES >> 20} MiB"
        )
    halo = 0 if rows == size else -(-(taps - 1) // UNIT) * UNIT
    step = rows - 2 * halo
    return Layout(head, num_heads, num_tiles, tiles, rows, step, halo)
