"""What a chip can do at best: the figures that a step's work is measured in.

Memory and interconnect are those of Google's documentation of Cloud TPU; clock and
links of v2 and v3 are from Jouppi et al. 2020, where JAX's are estimates. Peaks are
those by which training measures `mfu`.
"""

import dataclasses

from clinometer.kernels.tpu import chips
from clinometer.train.host import speed

_GIGA = 10**9


@dataclasses.dataclass(frozen=True)
class Machine:
    """A kind of TPU chip.

    Attributes:
        name: such as "v5e".
        cores: number of TensorCores of a chip.
        peak_flops_per_second: of a core, for products in bfloat16.
        clock_hz: of a core.
        hbm_bytes: memory of a core.
        link_bytes_per_second: what all links of a chip send at once.
    """

    name: str
    cores: int
    peak_flops_per_second: float
    clock_hz: float
    hbm_bytes: int
    link_bytes_per_second: float


# Of a chip: cores, GiB, GB/s of its links; and GHz unless JAX knows them.
_CHIPS = {
    "v2": (2, 16, 4 * 62, 0.70),
    "v3": (2, 32, 4 * 82, 0.94),
    "v4": (2, 32, 300, None),
    "v5e": (1, 16, 200, None),
    "v5p": (2, 95, 600, None),
    "v6e": (1, 32, 400, None),
    "7x": (2, 192, 600, None),
}
# Cores of a device of JAX, on a host with chips, if there are several.
_CORES_OF_DEVICE = {"v4": 2, "v5p": 2}


def of_chip(chip: chips.Chip) -> Machine:
    """Returns the figures of a chip.

    Args:
        chip: one of `chips.CHIPS`.
    """
    cores, gibibytes, links, gigahertz = _CHIPS[chip.name]
    peak = speed.PEAK_FLOPS_PER_SECOND[chip.device_kind]
    return Machine(
        name=chip.name,
        cores=cores,
        peak_flops_per_second=peak / _CORES_OF_DEVICE.get(chip.name, 1),
        clock_hz=gigahertz * _GIGA if gigahertz else chip.clock_hz,
        hbm_bytes=gibibytes * 2**30 // cores,
        link_bytes_per_second=links * _GIGA,
    )
