"""The time of a train step, from the work that the compiler's text describes.

VALIDATION.md says how the forms and their constants were chosen, and how far off they
are from published speeds.
"""

from collections.abc import Mapping
import dataclasses

from clinometer.kernels.tpu import chips
from clinometer.tools.plan import kernel_cost
from clinometer.tools.plan import machines
from clinometer.tools.plan import step_cost


@dataclasses.dataclass(frozen=True)
class Work:
    """The work of a step on one device, in seconds at nominal rates.

    Attributes:
        cycles: the compiler's estimates of cycles, over the clock.
        wire: bytes that collectives send, over a device's share of its chip's links.
        flops: FLOPs of the model, over the peak.
        pallas: cycles of Pallas calls, over the clock, without stalls.
    """

    cycles: float
    wire: float
    flops: float
    pallas: float = 0.0


@dataclasses.dataclass(frozen=True)
class Form:
    """A rule for the time of a step.

    Attributes:
        name: the rule in words.
        weights: field of `Work` -> its weight.
        constant: seconds of every step.
    """

    name: str
    weights: Mapping[str, float]
    constant: float = 0.0

    def parts(self, work: Work) -> dict[str, float]:
        """Returns the seconds of each part of a step.

        The compiler's estimates don't include Pallas calls, so a rule that weights them
        has the calls as well. Their weight is 1, since cycles without stalls must not
        be made fewer.

        Args:
            work: the work of the step.
        """
        found = {
            name: weight * getattr(work, name) for name, weight in self.weights.items()
        }
        if self.constant:
            found["constant"] = self.constant
        if "cycles" in self.weights and work.pallas:
            found["pallas"] = work.pallas
        return found

    def seconds(self, work: Work) -> float:
        """Returns the time of a step, which is never less than its FLOPs at the peak.

        Args:
            work: the work of the step.
        """
        return max(work.flops, sum(self.parts(work).values()))


def work(
    cost: step_cost.StepCost,
    kernels: Mapping[str, kernel_cost.KernelCost],
    chip: chips.Chip,
    *,
    flops: float,
    cores: int,
) -> Work:
    """Returns the work of a step on one device.

    Args:
        cost: what the compiler's text says.
        kernels: Pallas call -> its cost.
        chip: the chip.
        flops: FLOPs of the model that a device computes.
        cores: cores of a device, which divide its work.
    """
    machine = machines.of_chip(chip)
    share = machine.link_bytes_per_second * cores / machine.cores
    pallas = kernel_cost.total_cycles(cost.pallas_calls, kernels, chip)
    return Work(
        cycles=cost.cycles / machine.clock_hz,
        wire=cost.wire_bytes / share,
        flops=flops / (machine.peak_flops_per_second * cores),
        pallas=pallas / machine.clock_hz,
    )
