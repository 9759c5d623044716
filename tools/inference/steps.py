"""Whether each size of an architecture is better than the one before it."""

import dataclasses

import numpy as np

from clinometer.tools.inference import contrasts
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import simultaneous


@dataclasses.dataclass(frozen=True)
class Step:
    """From one size of an architecture to the next dearer one.

    Attributes:
        architecture: the architecture.
        smaller: the cell of the smaller size.
        larger: the cell of the larger size.
        gain: loss of the smaller less that of the larger, nats.
        standard_error: of the gain, nats.
        degrees: degrees of freedom of its t quantile.
        p_value: one-sided against "no gain", adjusted by Holm over the steps.
    """

    architecture: str
    smaller: design_lib.Cell
    larger: design_lib.Cell
    gain: float
    standard_error: float
    degrees: float
    p_value: float

    def is_clear(self, error_rate: float = 0.05) -> bool:
        """Whether the larger size is better; all steps err together at this rate."""
        return self.p_value <= error_rate


def rows(design: design_lib.Design, architecture: str) -> np.ndarray:
    """The gain of each step by rising FLOPs, nats: [steps, C].

    Raises:
        InferenceError: fewer than two sizes, or no such architecture.
    """
    cells = design.check_sizes(architecture, 2, "a step between sizes")
    return np.stack([contrasts.gain(design, a, b) for a, b in zip(cells, cells[1:])])


def p_values(fitted: linear_model.Fit, architecture: str) -> np.ndarray:
    """One-sided p-values of the steps, adjusted by Holm: [..., steps].

    Raises:
        InferenceError: as `rows`, or orders stand between the sizes.
    """
    estimates = contrasts.estimate(fitted, rows(fitted.design, architecture))
    return simultaneous.holm(estimates.p_above())


def steps(fitted: linear_model.Fit, architecture: str) -> list[Step]:
    """The steps of one architecture in one data set, by rising FLOPs.

    Raises:
        InferenceError: as `p_values`.
    """
    design = fitted.design
    estimates = contrasts.estimate(fitted, rows(design, architecture))
    cells = design.cells_of(architecture)
    numbers = zip(
        cells,
        cells[1:],
        estimates.value,
        estimates.standard_error,
        estimates.degrees,
        simultaneous.holm(estimates.p_above()),
    )
    return [
        Step(architecture, design.cells[a], design.cells[b], *map(float, n))
        for a, b, *n in numbers
    ]
