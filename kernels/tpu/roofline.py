"""The least cycles that a kernel can take on a chip, by the unit that limits it."""

import dataclasses
import math

from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes

# Elements of a vector register, and the registers that a cycle's instructions take: the
# compiler's own utilisation tables give the slots.
_REGISTER = 8 * lanes.LANES
_VPU_SLOTS = 4
_EUP_SLOTS = 1


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Cycles that a kernel needs of each unit, if it kept that unit busy throughout.

    Attributes:
        mxu: of the matrix units, at the occupancy that the tiles have: a 64-wide head
            fills half of a 128-wide unit.
        vpu: of the vector units.
        eup: of the unit of exponentials and reciprocals.
        hbm: of the memory, operands read once and results written once.
    """

    mxu: float = 0.0
    vpu: float = 0.0
    eup: float = 0.0
    hbm: float = 0.0

    @property
    def cycles(self) -> float:
        """The largest of them."""
        return max(dataclasses.astuple(self))

    @property
    def binds(self) -> str:
        """The unit that limits: "mxu", "vpu", "eup" or "hbm"."""
        return max(dataclasses.asdict(self).items(), key=lambda item: item[1])[0]


def mxu_cycles(chip: chips.Chip, rows: int, depth: int, columns: int) -> float:
    """Cycles of a bfloat16 product [rows, depth] by [depth, columns]; whole tiles."""
    size = chip.info.mxu_column_size
    tiles = math.ceil(depth / size) * math.ceil(columns / size)
    return rows * tiles / chip.mxu_tiles_per_cycle


def vpu_cycles(elements: int, operations: float) -> float:
    """Cycles of so many vector operations on each of these 32-bit elements."""
    return elements * operations / (_REGISTER * _VPU_SLOTS)


def eup_cycles(elements: int) -> float:
    """Cycles of one exponential or reciprocal of each of these 32-bit elements."""
    return elements / (_REGISTER * _EUP_SLOTS)


def hbm_cycles(chip: chips.Chip, size_bytes: int) -> float:
    """Cycles in which HBM moves so many bytes."""
    return size_bytes / chip.hbm_bytes_per_cycle
