"""Block sizes and data layout of the Pallas convolution kernels."""

import dataclasses

from clinometer.kernels.convolution import reference
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

UNIT = 16  # Positions in a bfloat16 register.
# For double-buffered blocks and scratch; the compiler grants 16 MiB.
_VMEM_BYTES = 12 << 20
_PROGRAM_BYTES = 1 << 20  # Of x per program; larger ones hide copies no better.


@dataclasses.dataclass(frozen=True)
class ConvolutionBlocks:
    """Block sizes of one program; None lets the heuristic choose.

    Attributes:
        rows: positions, a multiple of 16; at least 256, or the whole sequence. Longer
            sequences are cut into overlapping pieces.
        tiles: for light_conv, the number of channel groups of 128 lanes (or of a wider
            head).
    """

    rows: int | None = None
    tiles: int | None = None


@dataclasses.dataclass(frozen=True)
class Band:
    """The geometry of a product of a band of weights with a window of positions.

    Row r of the band has the weights of output r of a block. The window begins `before`
    positions before the block.

    Attributes:
        taps: K.
        left: how many positions the first tap reaches back.
    """

    taps: int
    left: int

    @property
    def right(self) -> int:
        """How many positions the last tap reaches ahead."""
        return self.taps - 1 - self.left

    @property
    def before(self) -> int:
        """Positions of the window before the block, rounded up to whole registers."""
        return -(-self.left // UNIT) * UNIT

    @property
    def rows(self) -> int:
        """Outputs of a block: as many as a window of 128 positions allows."""
        return (lanes.LANES - self.before - self.right) // UNIT * UNIT

    @property
    def offset(self) -> int:
        """Column of the first tap in row 0."""
        return self.before - self.left

    @property
    def mirrored(self) -> "Band":
        """The band with reversed taps, for the gradient of the input."""
        return Band(self.taps, self.right)

    def extended(self, length: int) -> int:
        """Returns the number of positions covered by all windows of a sequence."""
        return length + lanes.LANES


@dataclasses.dataclass(frozen=True)
class Layout:
    """The layout of heads and positions in the kernels' arrays, [B, length, lanes].

    Attributes:
        lanes: lanes per head.
        num_heads: H.
        num_tiles: tiles (of whole heads) in an array.
        tiles: tiles per program.
        length: positions of a piece, padded.
        step: positions from one piece to the next; `length` if there is only one.
        halo: extra positions of a piece before and after its own.
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
        """Heads per tile."""
        return lanes.heads_per_tile(self.lanes)

    @property
    def tile(self) -> int:
        """Lanes per tile."""
        return lanes.tile_lanes(self.lanes)


def band(taps: int, causal: bool) -> Band:
    """Returns the band of an output's weights.

    Args:
        taps: K.
        causal: whether the convolution is causal.
    """
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

    A program takes up to 1 MiB of x, as far as it fits into VMEM. A sequence that does
    not fit even with one tile is cut. The result is the same for all chips, since their
    compilers grant a kernel the same VMEM.

    Args:
        chip: the chip that the kernel is lowered for.
        length: S.
        num_heads: H.
        channels: d.
        taps: K.
        row_bytes: bytes of VMEM per position and lane.
        whole: whether a program takes all tiles.

    Raises:
        ValueError: if requested block sizes do not fit; says which.
    """
    del chip  # The same for all.
    head = lanes.padded_width(channels // num_heads)
    tile = lanes.tile_lanes(head)
    num_tiles = -(-num_heads // lanes.heads_per_tile(head))
    asked = wrap.blocks(ConvolutionBlocks) or ConvolutionBlocks()
    least = num_tiles if whole else (asked.tiles or 1)
    budget = _VMEM_BYTES // (row_bytes * tile)  # Rows of one tile.
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
