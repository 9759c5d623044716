"""Errors of mean scores: seeds crossed with the items that all of them are scored on.

The score of seed s is its expectation plus an effect a_s of the seed, an effect of the
drawn items that all seeds share, and what is left over for the seed on these items. The
variance of the mean over S seeds is estimated as

    (variance between the seeds' scores) / S + (covariance of two seeds' resamples)

where both seeds are scored on the same resampled items. The first part already holds
what is left over; adding the whole sampling error of the items would count it twice.
For a mean over items the sum is (MS_seeds + MS_items - MS_residual) / (S N), that of a
balanced two-way design with random effects (Searle et al. 1992). Resampling the seeds
as well would make the first part too small by (S - 1) / S and count the residual twice
(Owen 2007).

The half-widths of the two parts are added in quadrature, each with the t quantile of
its own degrees of freedom (Howe 1974), Welch's for the seeds of several cells. By
simulation 95 % intervals cover 94 to 98.5 % with equal numbers of seeds; with two seeds
they are too wide where the seeds differ little. Of cells with 2 and 4 seeds, where the
two scatter ten times as much, they cover only 90 %.

Shapes: S seeds, R resamples.
"""

from collections.abc import Hashable
from collections.abc import Sequence
import dataclasses

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
UNKNOWN_SEEDS = "between-seed error unknown"
_TINY = 1e-9  # Percentage points; anything smaller is rounding.


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """Scores of the seeds of one setting on one set of items.

    Attributes:
        scores: of each seed, in percent, [S].
        replicates: the scores on resampled items, in percent, [S, R]; the items of a
            column are the same for all seeds, and in all cells that are compared. None
            if the items are unknown.
        num_items: number of items; the smallest, for an average over tasks.
        items: identifies the items; cells are paired only where it is equal.
    """

    scores: np.ndarray
    replicates: np.ndarray | None = None
    num_items: int = 0
    items: Hashable = None


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over seeds, or a difference of two, in percent.

    Attributes:
        value: the mean or difference.
        standard_error: over other seeds and other items; None if unknown.
        interval: 95 % interval over other seeds and other items; None if unknown.
        items_interval: 95 % interval over other items for these trained models only;
            None if unknown.
        unknown: what is unknown of the error; None if nothing is.
    """

    value: float
    standard_error: float | None
    interval: tuple[float, float] | None
    items_interval: tuple[float, float] | None
    unknown: str | None


def mean(cell: Cell) -> Estimate:
    """Estimates the mean over seeds of one cell.

    Args:
        cell: its scores.
    """
    return _contrast([cell], [1.0])


def difference(one: Cell, other: Cell) -> Estimate:
    """Estimates the mean of `one` less that of `other`, paired by item.

    Args:
        one: a cell.
        other: a cell with other seeds, scored on the same items.

    Raises:
        ValueError: the cells have different items.
    """
    if one.items != other.items or _resamples(one) != _resamples(other):
        raise ValueError(
            "difference: the cells are not paired by item; both need the same items "
            "and number of resamples"
        )
    return _contrast([one, other], [1.0, -1.0])


def average(cells: Sequence[Cell], weights: Sequence[float]) -> Cell:
    """Returns the weighted average over tasks that share their models.

    Seed s of the result is the average of seed s over the tasks, so that the seeds'
    variance holds the covariance between tasks of one model. The tasks' items must have
    been resampled independently.

    Args:
        cells: a cell of each task, with the same seeds in the same order.
        weights: the weight of each task.

    Raises:
        ValueError: the cells have different numbers of seeds.
    """
    scores = _weighted([cell.scores for cell in cells], weights)
    replicates = None
    if all(cell.replicates is not None for cell in cells):
        replicates = _weighted([cell.replicates for cell in cells], weights)
    num_items = min(cell.num_items for cell in cells)
    return Cell(scores, replicates, num_items, tuple(cell.items for cell in cells))


def _weighted(arrays: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    return np.tensordot(weights, np.array(arrays, np.float64), axes=1)


def _contrast(cells: Sequence[Cell], weights: Sequence[float]) -> Estimate:
    means = np.array([np.mean(cell.scores) for cell in cells])
    value = float(np.dot(weights, means))
    items_interval = _items_interval(cells, weights)
    counts = np.array([len(cell.scores) for cell in cells])
    if counts.min() < 2:
        return Estimate(value, None, None, items_interval, UNKNOWN_SEEDS)
    seeds = np.array([np.var(cell.scores, ddof=1) for cell in cells])
    seeds *= np.square(weights) / counts
    items, items_degrees, unknown = 0.0, np.inf, None
    if cells[0].replicates is None:
        unknown = "error due to the sampling of items unknown"
    else:
        items = max(_items_variance(cells, weights), 0.0)
        items_degrees = max(min(cell.num_items for cell in cells) - 1, 1)
    if seeds.sum() + items < _TINY**2:
        same = "error unknown: all seeds have the same score"
        return Estimate(value, None, None, items_interval, same)
    reach = _quantile(items_degrees) ** 2 * items
    if seeds.sum() > 0:
        degrees = seeds.sum() ** 2 / np.sum(seeds**2 / (counts - 1))
        reach += _quantile(degrees) ** 2 * seeds.sum()
    reach = float(np.sqrt(reach))
    return Estimate(
        value,
        float(np.sqrt(seeds.sum() + items)),
        (value - reach, value + reach),
        items_interval,
        unknown,
    )


def _items_variance(cells: Sequence[Cell], weights: Sequence[float]) -> float:
    """Returns the variance due to the items' effects that seeds of a cell share.

    It is the covariance of two different seeds' replicates, averaged over all pairs
    within and between the cells; unbiased, and so possibly negative.
    """
    counts = [len(cell.scores) for cell in cells]
    covariance = np.atleast_2d(np.cov(np.concatenate([c.replicates for c in cells])))
    shares = np.repeat(np.divide(weights, counts), counts)
    pairs = np.outer(shares, shares)
    start = 0
    for count, weight in zip(counts, weights):
        own = slice(start, start + count)
        # Pairs of two different seeds stand for those of a seed with itself.
        pairs[own, own] = weight**2 / (count * (count - 1))
        start += count
    np.fill_diagonal(pairs, 0.0)
    return float(np.sum(pairs * covariance))


def _items_interval(
    cells: Sequence[Cell], weights: Sequence[float]
) -> tuple[float, float] | None:
    if any(cell.replicates is None for cell in cells):
        return None
    drawn = np.dot(weights, [cell.replicates.mean(axis=0) for cell in cells])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return (float(low), float(high)) if high - low > _TINY else None


def _quantile(degrees: float) -> float:
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, degrees))


def _resamples(cell: Cell) -> int:
    return 0 if cell.replicates is None else cell.replicates.shape[1]
