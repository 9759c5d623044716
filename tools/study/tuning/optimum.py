"""Chooses the rate of each swept size, from its losses and the parabolas."""

from collections.abc import Mapping
import dataclasses
import math

from clinometer.tools.study.tuning import grid
from clinometer.tools.study.tuning import parabola

CLIFF_NATS = 0.3
CLIFF_MARGIN = 1.5

AT_EDGE = "the lowest loss is at the edge of the sweep, which is not tuned"
FEW_POINTS = "too few points near the lowest loss, which stands"
NOT_CURVED = "the curvature is below twice its standard error: the lowest loss stands"
OUTSIDE = "the parabola's vertex is outside its points: the lowest loss stands"
NEAR_CLIFF = f"lowered to stay a factor of {CLIFF_MARGIN} below the cliff"


@dataclasses.dataclass(frozen=True)
class Optimum:
    """The rate of one size.

    Attributes:
        rate: the tuned rate.
        lowest: the rate of the sweep with the lowest loss.
        interior: whether higher and lower rates were tried.
        vertex: the rate at the parabola's vertex, or None.
        cliff: the rate at which the cliff begins, or None if none was found.
        remarks: which rules took the place of the vertex.
    """

    rate: float
    lowest: float
    interior: bool
    vertex: float | None
    cliff: float | None
    remarks: tuple[str, ...]


def cliff(losses: Mapping[float, float]) -> float | None:
    """Returns the rate at which the cliff begins, or None if there is none.

    It is the lowest rate above that of the lowest loss whose loss is more than
    `CLIFF_NATS` above it.

    Args:
        losses: rate -> validation loss, infinite for a run that diverged.
    """
    best = grid.lowest(losses)
    over = [r for r in losses if r > best and losses[r] > losses[best] + CLIFF_NATS]
    return min(over, default=None)


def find(
    losses: Mapping[float, float], parabolas: parabola.Parabolas, width: int
) -> Optimum:
    """Returns the rate of a size.

    Args:
        losses: rate -> validation loss of this size.
        parabolas: fitted to the sweeps of all sizes.
        width: the size's width.
    """
    best, begins = grid.lowest(losses), cliff(losses)
    interior = grid.is_interior(losses)
    vertex = parabolas.vertices.get(width)
    points = parabolas.points[width]
    remarks = []
    if not interior:
        remarks.append(AT_EDGE)
    if len(points) < parabola.FEWEST_POINTS:
        remarks.append(FEW_POINTS)
    elif not parabolas.is_determined or vertex is None:
        remarks.append(NOT_CURVED)
    elif not min(points) <= vertex <= max(points):
        remarks.append(OUTSIDE)
    rate = best if remarks or vertex is None else vertex
    if begins is not None and rate > begins / CLIFF_MARGIN:
        rate = begins / CLIFF_MARGIN
        remarks.append(NEAR_CLIFF)
    return Optimum(grid.rounded(rate), best, interior, vertex, begins, tuple(remarks))


@dataclasses.dataclass(frozen=True)
class Check:
    """Two runs at factors of sqrt 2 above and below a rate.

    Attributes:
        offset: ln(rate) - ln(the optimum); None if there is no curvature to tell it.
        offset_error: its standard error; None likewise.
        on_cliff: whether the run above ended on the cliff.
    """

    offset: float | None
    offset_error: float | None
    on_cliff: bool

    @property
    def passed(self) -> bool:
        """Whether the rate is within two standard errors and away from the cliff."""
        if self.on_cliff or self.offset is None or self.offset_error is None:
            return False
        return abs(self.offset) <= 2 * self.offset_error


def check(above: float, below: float, parabolas: parabola.Parabolas) -> Check:
    """Compares a rate with the losses at factors of sqrt 2 around it.

    Args:
        above: loss at the higher rate, infinite if that run diverged.
        below: loss at the lower rate.
        parabolas: of the other sizes, for the curvature and the spread of a run.
    """
    on_cliff = not above <= below + CLIFF_NATS
    if not parabolas.is_determined or not math.isfinite(above - below):
        return Check(None, None, on_cliff)
    per_nat = 1 / (math.log(2) * parabolas.curvature)
    error = math.sqrt(2) * parabolas.spread * per_nat
    return Check((above - below) * per_nat, error, on_cliff)
