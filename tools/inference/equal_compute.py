"""Two architectures at equal training FLOPs, at both ends of their shared range.

Equal width is not equal compute, so the loss at a cost C is read off a curve: the
parabola in C^(-1/2) through the three nearest means. That is linear in the means, so
the reading is a contrast, with standard error and degrees of freedom. On a power law
through vanilla's tuned ladder (d16 to d128, 1.4 decades) it errs by less than 0.001
nats, where a parabola in log10 C errs by 0.008 and a chord by 0.02.

D = loss(architecture) - loss(reference), nats, at the two ends: the level is its
average, and the difference of gain D(low) - D(high), what the architecture gains more
than the reference. Shapes as in `design`.
"""

import dataclasses

import numpy as np

from clinometer.tools.inference import contrasts
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import errors

_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """An architecture against a reference, as rows over the cells' means.

    Attributes:
        architecture: the architecture.
        reference: the reference architecture.
        low_flops: low end of the shared range, training FLOPs.
        high_flops: high end of the shared range.
        low: D at the low end, [C].
        high: D at the high end, [C].
        reference_gain: the reference's gain over the shared range, [C].
    """

    architecture: str
    reference: str
    low_flops: float
    high_flops: float
    low: np.ndarray
    high: np.ndarray
    reference_gain: np.ndarray

    @property
    def decades(self) -> float:
        """Length of the shared range, in tenfolds of FLOPs."""
        return float(np.log10(self.high_flops / self.low_flops))

    @property
    def level(self) -> np.ndarray:
        """Average of D at the two ends, [C]: above 0, the architecture is worse."""
        return (self.low + self.high) / 2

    @property
    def gain_difference(self) -> np.ndarray:
        """D(low) - D(high), [C]: above 0, the architecture gains more."""
        return self.low - self.high


def reading(design: design_lib.Design, architecture: str, flops: float) -> np.ndarray:
    """The row that reads an architecture's loss at a cost.

    Args:
        design: which runs there are.
        architecture: whose loss to read.
        flops: training FLOPs, within the architecture's own range.

    Returns:
        Coefficients of the cells' means, summing to 1: [C].

    Raises:
        InferenceError: fewer than three sizes, two sizes of one cost, or a cost outside
            the range.
    """
    cells = design.check_sizes(architecture, 3, "a loss at equal FLOPs")
    row = np.zeros(len(design.cells))
    row[cells] = weights(design.flops_of(cells), flops, architecture)
    return row


def weights(costs: np.ndarray, cost: float, architecture: str) -> np.ndarray:
    """The weights of the sizes' mean losses in the loss at a cost.

    Args:
        costs: of the sizes, at least three, above 0 and in any order: [k].
        cost: within their range.
        architecture: whose sizes they are, for messages.

    Returns:
        The weights, summing to 1: [k].

    Raises:
        InferenceError: two sizes of one cost, or a cost outside the range.
    """
    least, most = np.min(costs), np.max(costs)
    if len(np.unique(costs)) < len(costs):
        raise errors.InferenceError(
            f"flops: two sizes of {architecture} cost the same; a loss at equal FLOPs "
            "needs sizes of different cost"
        )
    if not least * (1 - _ROUNDING) <= cost <= most * (1 + _ROUNDING):
        raise errors.InferenceError(
            f"flops: {cost:g} lies outside {architecture}'s range; accepted: "
            f"{least:g} to {most:g}"
        )
    distance = np.abs(np.log(costs / cost))
    nearest = np.argsort(distance, kind="stable")[:3]
    found = np.zeros(len(costs))
    found[nearest] = _lagrange(costs[nearest] ** -0.5, cost**-0.5)
    return found


def compare(design: design_lib.Design, architecture: str, reference: str) -> Comparison:
    """Compares an architecture with a reference over the range that both cover.

    Raises:
        InferenceError: they share no range of FLOPs, or as `reading`.
    """
    costs = [
        design.flops_of(design.check_sizes(name, 3, "a loss at equal FLOPs"))
        for name in (architecture, reference)
    ]
    low = max(cost[0] for cost in costs)
    high = min(cost[-1] for cost in costs)
    if not low < high:
        raise errors.InferenceError(
            f"flops: {architecture} covers {costs[0][0]:g} to {costs[0][-1]:g}, "
            f"{reference} {costs[1][0]:g} to {costs[1][-1]:g}; a comparison needs a "
            "range that both cover"
        )
    own, theirs = (
        [reading(design, name, flops) for flops in (low, high)]
        for name in (architecture, reference)
    )
    return Comparison(
        architecture=architecture,
        reference=reference,
        low_flops=float(low),
        high_flops=float(high),
        low=own[0] - theirs[0],
        high=own[1] - theirs[1],
        reference_gain=theirs[0] - theirs[1],
    )


def compare_all(design: design_lib.Design, reference: str) -> list[Comparison]:
    """Every other architecture against the reference, in order of the design.

    Raises:
        InferenceError: there is no other architecture, or as `compare`.
    """
    design.cells_of(reference)
    others = [name for name in design.architectures if name != reference]
    if not others:
        raise errors.InferenceError(
            f"architecture: only {reference} has runs; a comparison needs a second one"
        )
    return [compare(design, name, reference) for name in others]


def step_gains(
    design: design_lib.Design, comparison: Comparison
) -> tuple[np.ndarray, np.ndarray]:
    """The reference's gain per tenfold FLOPs in its steps at the range's two ends.

    The step at an end lies between the two sizes of the reference that enclose it, so
    it reaches beyond the shared range where the end lies between sizes.

    Returns:
        Rows for the low end and the high end, nats per decade: [C] each.
    """
    cells = design.cells_of(comparison.reference)
    costs = design.flops_of(cells)
    first = int(
        np.searchsorted(costs, comparison.low_flops * (1 + _ROUNDING), side="right") - 1
    )
    last = int(np.searchsorted(costs, comparison.high_flops * (1 - _ROUNDING)))
    pairs = ((first, first + 1), (last - 1, last))
    low, high = (
        contrasts.gain(design, cells[a], cells[b])
        / contrasts.decades(costs[a], costs[b])
        for a, b in pairs
    )
    return low, high


def _lagrange(nodes: np.ndarray, at: float) -> np.ndarray:
    """Weights of the values at the nodes in their polynomial's value: [len(nodes)]."""
    weights = np.ones(len(nodes))
    for i, node in enumerate(nodes):
        for other in np.delete(nodes, i):
            weights[i] *= (at - other) / (node - other)
    return weights
