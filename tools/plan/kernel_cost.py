"""The cost of a program's Pallas calls, from the schedules that the compiler dumped."""

from collections.abc import Mapping
import dataclasses
import pathlib

from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import roofline
from clinometer.tools.plan import dumps
from clinometer.tools.plan import hlo


@dataclasses.dataclass(frozen=True)
class KernelCost:
    """The cost of one run of a Pallas call.

    Attributes:
        bundles: issued bundles, of which one takes at least a cycle.
        hbm_bytes: minimum number of bytes that it moves between HBM and the core.
    """

    bundles: int
    hbm_bytes: int

    def cycles(self, chip: chips.Chip) -> float:
        """Returns its cycles without stalls.

        That is a lower bound for kernels without branches. A branch counts as taken in
        every program, although it may run only in the first or the last one.
        """
        return max(self.bundles, roofline.hbm_cycles(chip, self.hbm_bytes))


def read(text: str, folder: pathlib.Path) -> dict[str, KernelCost]:
    """Reads the costs of all Pallas calls of a program.

    Args:
        text: the text of the optimized module.
        folder: the folder with the dumps. Equal calls have the files of one of them.

    Returns:
        Name of a call -> its cost; calls without files are left out.
    """
    if '"tpu_custom_call"' not in text:
        return {}
    scheduled = dumps.schedules(folder)
    found = {}
    for call in hlo.instructions(text):
        dumped = next((name for name in call.equal if name in scheduled), None)
        if call.kind == "pallas" and dumped is not None:
            found[call.name] = KernelCost(scheduled[dumped].total, call.hbm_bytes)
    return found


def total_cycles(
    calls: Mapping[str, int], costs: Mapping[str, KernelCost], chip: chips.Chip
) -> float:
    """Returns the cycles of all Pallas calls of a step.

    Args:
        calls: name -> how often it runs.
        costs: name -> cost of one run; calls without a cost count as 0.
        chip: the chip.
    """
    known = {name: times for name, times in calls.items() if name in costs}
    return sum(times * costs[name].cycles(chip) for name, times in known.items())
