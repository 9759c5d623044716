"""Fits parabolas with one common curvature to the losses of several sizes."""

from collections.abc import Mapping
import dataclasses
import math

import numpy as np

# Points further above the lowest loss of their size are left out.
NEAR_NATS = 0.15
FEWEST_POINTS = 3
# Standard deviation of runs that differ only in their seed: vanilla, d16, 3,000 steps.
# A smaller scatter of a few points around a parabola is taken for chance.
SEED_SPREAD = 0.018


@dataclasses.dataclass(frozen=True)
class Parabolas:
    """Parabolas loss = floor + curvature / 2 * (ln rate - ln vertex)^2, one a size.

    Attributes:
        vertices: width -> the rate at the vertex, for the sizes with enough points.
        points: width -> the rates of the points that were fitted, for all sizes.
        curvature: K, the second derivative in ln(rate), common to all sizes.
        curvature_error: its standard error; infinite if nothing could be fitted.
        spread: standard deviation of losses around the parabolas, or that of seeds if
            it is larger.
    """

    vertices: Mapping[int, float]
    points: Mapping[int, tuple[float, ...]]
    curvature: float
    curvature_error: float
    spread: float

    @property
    def is_determined(self) -> bool:
        """Whether the curvature is at least twice its standard error."""
        return self.curvature >= 2 * self.curvature_error


def fit(sweeps: Mapping[int, Mapping[float, float]]) -> Parabolas:
    """Fits the points near each size's lowest loss, by least squares.

    Args:
        sweeps: width -> rate -> validation loss, infinite for a run that diverged.
    """
    points = {width: _near(losses) for width, losses in sweeps.items()}
    fitted = [width for width, rates in points.items() if len(rates) >= FEWEST_POINTS]
    if not fitted:
        return Parabolas({}, points, 0.0, math.inf, SEED_SPREAD)
    # One column for K / 2, then a constant and a slope for each size.
    columns, losses, centers = [], [], {}
    for index, width in enumerate(fitted):
        logs = np.log(points[width])
        centers[width] = float(logs.mean())
        for rate, x in zip(points[width], logs - centers[width]):
            row = np.zeros(1 + 2 * len(fitted))
            row[0], row[1 + 2 * index], row[2 + 2 * index] = x * x, 1.0, x
            columns.append(row)
            losses.append(sweeps[width][rate])
    design, observed = np.array(columns), np.array(losses)
    solution, *_ = np.linalg.lstsq(design, observed)
    left = len(observed) - len(solution)
    residual = observed - design @ solution
    scatter = math.sqrt(float(residual @ residual) / left) if left else 0.0
    spread = max(scatter, SEED_SPREAD)
    half_error = spread * math.sqrt(np.linalg.inv(design.T @ design)[0, 0])
    curvature = 2 * float(solution[0])
    vertices = {}
    if curvature > 0:
        for index, width in enumerate(fitted):
            slope = float(solution[2 + 2 * index])
            vertices[width] = math.exp(centers[width] - slope / curvature)
    return Parabolas(vertices, points, curvature, 2 * half_error, spread)


def _near(losses: Mapping[float, float]) -> tuple[float, ...]:
    least = min(losses.values())
    if not math.isfinite(least):
        return ()
    return tuple(sorted(r for r, loss in losses.items() if loss <= least + NEAR_NATS))
