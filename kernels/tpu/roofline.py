"""Lower bounds on a kernel's cycles on a chip, by the unit that limits it."""

import dataclasses
import math

from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes

# Elements of a vector register, and registers processed per cycle by each unit: the
# slots in the compiler's own utilization tables.
_REGISTER = 8 * lanes.LANES
_VPU_SLOTS = 4
_EUP_SLOTS = 1


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Cycles that a kernel needs on each unit if that unit is always busy.

    Attributes:
        mxu: the matrix units, at the occupancy of the tiles: a head of width 64 fills
            half of a 128-wide unit.
        vpu: the vector units.
        eup: the unit for exponentials and reciprocals.
        hbm: memory, with operands read once and results written once.
    """

    mxu: float = 0.0
    vpu: float = 0.0
    eup: float = 0.0
    hbm: float = 0.0

    @property
    def cycles(self) -> float:
        """The largest of the four."""
        return max(dataclasses.astuple(self))

    @property
    def binds(self) -> str:
        """The limiting unit: "mxu", "vpu", "eup" or "hbm"."""
        return max(dataclasses.asdict(self).items(), key=lambda item: item[1])[0]


def mxu_cycles(chip: chips.Chip, rows: int, depth: int, columns: int) -> float:
    """Returns the cycles of a bfloat16 [rows, depth] x [depth, columns] in tiles.

    Args:
        chip: the chip.
        rows: rows of the moving operand.
        depth: the contracted size.
        columns: columns of the stationary operand.
    """
    size = chip.info.mxu_column_size
    tiles = math.ceil(depth / size) * math.ceil(columns / size)
    return rows * tiles / chip.mxu_tiles_per_cycle


def vpu_cycles(elements: int, operations: float) -> float:
    """Returns the cycles of `operations` vector operations on each 32-bit element.

    Args:
        elements: the number of elements.
        operations: operations per element.
    """
    return elements * operations / (_REGISTER * _VPU_SLOTS)


def eup_cycles(elements: int) -> float:
    """Returns the cycles of one exponential or reciprocal per 32-bit element."""
    return elements / (_REGISTER * _EUP_SLOTS)


def hbm_cycles(chip: chips.Chip, size_bytes: int) -> float:
    """Returns the cycles in which HBM moves `size_bytes` bytes.

    Args:
        chip: the chip.
        size_bytes: bytes read and written.
    """
    return size_bytes / chip.hbm_bytes_per_cycle
