"""Scores with the sampling error of the evaluation.

A score is a number in percent that is computed from N units (examples, or groups of
examples that are scored together). Its error is bootstrapped: N units are drawn with
replacement many times. Scores of the same N units use the same draws, so that the error
of their mean is correct. It says what other units would show of the same predictor, and
nothing about other seeds of a model.
"""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from clinometer.data.errors import DataError

RESAMPLES = 1000
CONFIDENCE = 0.95
MEAN = "mean"  # The statistic of `mean`.
_TINY = 1e-9  # Percentage points; anything smaller is rounding.
_CHUNK = 1 << 22  # number of indices drawn at a time


class Interval(NamedTuple):
    """The bootstrap estimate of a score's uncertainty, in percentage points.

    Attributes:
        standard_error: standard deviation over the resamples; NaN for fewer than two
            units.
        low, high: the percentile interval; NaN for fewer than two units.
    """

    standard_error: float
    low: float
    high: float


class Score(float):
    """The value of a metric in percent, which can be resampled.

    Attributes:
        num_units: N.
        replicates: a function from indices of drawn units, int [R, N], to the metric's
            value for each draw, float [R].
        statistic: the name by which `terms.rebuild` knows the metric; None if it does
            not.
        terms: the units' terms, from which it can be rebuilt, float [N, K]; None if
            it cannot.
    """

    num_units: int
    replicates: Callable[[np.ndarray], np.ndarray]
    statistic: str | None
    terms: np.ndarray | None

    def __new__(
        cls,
        value: float,
        num_units: int,
        replicates: Callable[[np.ndarray], np.ndarray],
        statistic: str | None = None,
        terms: np.ndarray | None = None,
    ):
        """Returns a float with the additional attributes of the class."""
        score = super().__new__(cls, value)
        score.num_units = num_units
        score.replicates = replicates
        score.statistic, score.terms = statistic, terms
        return score

    def __reduce__(self):
        return float, (float(self),)  # Pickled or copied, it becomes a plain float.

    def bootstrap(
        self, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
    ) -> Interval:
        """Returns the score's standard error and percentile interval.

        Args:
            confidence: confidence level of the interval, in (0, 1).
            resamples: number of draws.
            seed: seed of the draws.
        """
        if self.num_units < 2:
            return Interval(*[float("nan")] * 3)
        drawn = self.resample(resamples, seed)
        tail = (1 - confidence) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return Interval(float(drawn.std(ddof=1)), float(low), float(high))

    def resample(self, resamples: int, seed: int) -> np.ndarray:
        """Returns the score of resampled units, in percent, [resamples].

        Scores with the same number of units use the same draws.

        Args:
            resamples: number of draws of N units.
            seed: seed of the draws.
        """
        rng = np.random.default_rng(seed)
        rows = max(1, _CHUNK // self.num_units)
        values = []
        for start in range(0, resamples, rows):
            shape = (min(rows, resamples - start), self.num_units)
            values.append(self.replicates(rng.integers(self.num_units, size=shape)))
        return np.concatenate(values)

    @functools.cached_property
    def standard_error(self) -> float:
        """The standard error from `bootstrap`; NaN where all draws agree.

        They agree if all predictions are of one class in a correlation, or all right:
        this says that resampling does not know the error, not that there is none.
        """
        error = self.bootstrap().standard_error
        return error if error > _TINY else math.nan

    @functools.cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval: Wilson's for a proportion, else that of `bootstrap`.

        NaN where the bootstrap does not know it; see `standard_error`.
        """
        if self.statistic == MEAN and np.isin(self.terms, (0.0, 1.0)).all():
            found = stats.binomtest(int(self.terms.sum()), self.num_units)
            low, high = found.proportion_ci(CONFIDENCE, method="wilson")
            return 100 * float(low), 100 * float(high)
        if math.isnan(self.standard_error):
            return math.nan, math.nan
        return self.bootstrap()[1:]


def of_sums(
    rows: np.ndarray | Sequence,
    finish: Callable[[np.ndarray], np.ndarray],
    statistic: str | None = None,
) -> Score:
    """Returns the score of a metric that is a function of sums over the units.

    Args:
        rows: each unit's contribution to the sums, float [N, K] or [N].
        finish: a function from sums [..., K] to values in percent [...].
        statistic: the name by which `terms.rebuild` knows the metric, if it does; a
            metric without one is scored, but its units are not stored.

    Raises:
        DataError: there are no units.
    """
    _check_some(len(rows))
    rows = np.asarray(rows, np.float64).reshape(len(rows), -1)

    def replicates(drawn: np.ndarray) -> np.ndarray:
        # Count how often each unit was drawn, for all resamples in one pass.
        shifted = drawn + len(rows) * np.arange(len(drawn))[:, None]
        counts = np.bincount(shifted.ravel(), minlength=drawn.shape[0] * len(rows))
        return finish(counts.reshape(len(drawn), len(rows)) @ rows)

    value = float(finish(rows.sum(axis=0)))
    terms = None if statistic is None else rows
    return Score(value, len(rows), replicates, statistic, terms)


def mean(values: Sequence[float] | np.ndarray) -> Score:
    """Returns the mean over units of their values, in percent.

    Args:
        values: the units' values, where 1 is 100 %, float [N].

    Raises:
        DataError: there are no units.
    """
    count = max(len(values), 1)
    return of_sums(values, lambda sums: 100 * sums[..., 0] / count, MEAN)


def of_function(
    function: Callable[[np.ndarray], float],
    num_units: int,
    statistic: str | None = None,
    terms: np.ndarray | None = None,
) -> Score:
    """Returns the score of an arbitrary metric.

    Args:
        function: a function from indices of units, int [N], to the value in percent.
        num_units: N.
        statistic: as for `of_sums`.
        terms: the units' terms, float [N, K]; None without a statistic.

    Raises:
        DataError: there are no units.
    """
    _check_some(num_units)
    return Score(
        function(np.arange(num_units)),
        num_units,
        lambda drawn: np.array([function(indices) for indices in drawn]),
        statistic,
        terms,
    )


def average(scores: Sequence[float]) -> float:
    """Returns the mean of several metrics of one task.

    Returns:
        A `Score` if all metrics are Scores with the same number of units, which are
        then resampled together; else a plain float. A single metric is returned as
        it is.
    """
    if len(scores) == 1:
        return scores[0]
    value = sum(scores) / len(scores)
    sizes = {getattr(score, "num_units", None) for score in scores}
    if None in sizes or len(sizes) > 1:
        return value
    return Score(
        value,
        sizes.pop(),
        lambda drawn: np.mean([score.replicates(drawn) for score in scores], axis=0),
    )


def standard_error(score: float) -> float:
    """Returns the standard error of a score; NaN for a plain number."""
    return getattr(score, "standard_error", float("nan"))


def interval(score: float) -> tuple[float, float]:
    """Returns the 95 % interval of a score; NaN for a plain number or one unit."""
    if not isinstance(score, Score) or score.num_units < 2:
        return math.nan, math.nan
    return score.interval


def describe_error(score: float) -> dict[str, float | str | None]:
    """Returns the error of a score for a JSON record.

    Returns:
        `standard_error`, and the 95 % interval `low` to `high`; None where unknown, as
        JSON has no NaN. `no_standard_error` then gives the reason.
    """
    low, high = map(finite_or_none, interval(score))
    error = finite_or_none(standard_error(score))
    found = {"standard_error": error, "low": low, "high": high}
    if error is not None:
        return found
    reason = "a plain number, whose examples are unknown"
    if isinstance(score, Score):
        reason = "all resamples of the examples have the same score"
        if score.num_units < 2:
            reason = f"cannot be estimated from {score.num_units} scored example"
    return {**found, "no_standard_error": reason}


def finite_or_none(value: float) -> float | None:
    """Returns the value as a plain float, or None if it is not finite, for JSON."""
    return float(value) if math.isfinite(value) else None


def _check_some(num_units: int) -> None:
    if not num_units:
        raise DataError("There is nothing to score: no examples and no predictions.")
