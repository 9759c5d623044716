"""What a chip can do at best: the figures that a step's work is measured in.

Peaks, memory and interconnect are those of Google's documentation of Cloud TPU; clock
and links of v2 and v3 are from Jouppi et al. 2020, where JAX's are estimates.
"""

import dataclasses

from clinometer.kernels.tpu import chips

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


# Of a chip: cores, TFLOP/s, GiB, GB/s of its links; and GHz unless JAX knows them.
_CHIPS = {
    "v2": (2, 46, 16, 4 * 62, 0.70),
    "v3": (2, 123, 32, 4 * 82, 0.94),
    "v4": (2, 275, 32, 300, None),
    "v5e": (1, 197, 16, 200, None),
    "v5p": (2, 459, 95, 600, None),
    "v6e": (1, 918, 32, 400, None),
    "7x": (2, 2307, 192, 600, None),
}


def of_chip(chip: chips.Chip) -> Machine:
    """Returns the figures of a chip.

    Args:
        chip: one of `chips.CHIPS`.
    """
    cores, teraflops, gibibytes, links, gigahertz = _CHIPS[chip.name]
    return Machine(
        name=chip.name,
        cores=cores,
        peak_flops_per_second=teraflops * 1000 * _GIGA / cores,
        clock_hz=gigahertz * _GIGA if gigahertz else chip.clock_hz,
        hbm_bytes=gibibytes * 2**30 // cores,
        link_bytes_per_second=links * _GIGA,
    )
