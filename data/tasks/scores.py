"""Scores that know their sampling error.

A score is a number in percent and what it was computed from: N units that could have
been others (examples, or groups of examples scored together). Its error is
bootstrapped: the units are drawn again, N of N with replacement, many times.
Scores of the same N units are drawn alike, so that their mean has the right error.
"""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import math
from typing import NamedTuple

import numpy as np

from clinometer.data.errors import DataError

RESAMPLES = 1000
_CHUNK = 1 << 22  # indices drawn at a time


class Interval(NamedTuple):
    """How well a score is known, in percentage points.

    Attributes:
        standard_error: standard deviation over the resamples; NaN for fewer than two
            units, which say nothing about it.
        low, high: the percentile interval.
    """

    standard_error: float
    low: float
    high: float


class Score(float):
    """A metric's value in percent, which can be drawn again.

    Attributes:
        num_units: N.
        replicates: indices [R, N] of drawn units -> the R values that they give.
    """

    num_units: int
    replicates: Callable[[np.ndarray], np.ndarray]

    def __new__(
        cls,
        value: float,
        num_units: int,
        replicates: Callable[[np.ndarray], np.ndarray],
    ):
        """A float of this value with the attributes of the class."""
        score = super().__new__(cls, value)
        score.num_units = num_units
        score.replicates = replicates
        return score

    def __reduce__(self):
        return float, (float(self),)  # copied or stored, it is its value

    def bootstrap(
        self, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
    ) -> Interval:
        """The score's standard error and percentile interval."""
        if self.num_units < 2:
            return Interval(*[float("nan")] * 3)
        rng = np.random.default_rng(seed)
        rows = max(1, _CHUNK // self.num_units)
        values = []
        for start in range(0, resamples, rows):
            shape = (min(rows, resamples - start), self.num_units)
            values.append(self.replicates(rng.integers(self.num_units, size=shape)))
        drawn = np.concatenate(values)
        tail = (1 - confidence) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return Interval(float(drawn.std(ddof=1)), float(low), float(high))

    @functools.cached_property
    def standard_error(self) -> float:
        """The standard error by `bootstrap`."""
        return self.bootstrap().standard_error


def of_sums(
    rows: np.ndarray | Sequence, finish: Callable[[np.ndarray], np.ndarray]
) -> Score:
    """A metric that is a function of sums over the units.

    Args:
        rows: [N, K] or [N]: what each unit adds.
        finish: sums [..., K] -> values [...] in percent.

    Raises:
        DataError: there are no units.
    """
    _check_some(len(rows))
    rows = np.asarray(rows, np.float64).reshape(len(rows), -1)

    def replicates(drawn: np.ndarray) -> np.ndarray:
        # How often each unit was drawn, for all resamples in one pass.
        shifted = drawn + len(rows) * np.arange(len(drawn))[:, None]
        counts = np.bincount(shifted.ravel(), minlength=drawn.shape[0] * len(rows))
        return finish(counts.reshape(len(drawn), len(rows)) @ rows)

    return Score(float(finish(rows.sum(axis=0))), len(rows), replicates)


def mean(values: Sequence[float] | np.ndarray) -> Score:
    """The mean over units of values in [0, 1], in percent."""
    count = max(len(values), 1)
    return of_sums(values, lambda sums: 100 * sums[..., 0] / count)


def of_function(function: Callable[[np.ndarray], float], num_units: int) -> Score:
    """Any metric: `function` has the indices of the units, drawn or all of them."""
    _check_some(num_units)
    return Score(
        function(np.arange(num_units)),
        num_units,
        lambda drawn: np.array([function(indices) for indices in drawn]),
    )


def average(scores: Sequence[float]) -> float:
    """The mean of several metrics of one task.

    A Score if all are Scores of the same number of units, drawn alike; else a float.
    """
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
    """A score's standard error; NaN if it is a plain number, which has none."""
    return getattr(score, "standard_error", float("nan"))


def describe_error(score: float) -> dict[str, float | str | None]:
    """What a record says of a score's `standard_error`.

    Null where there is none, with the reason as `no_standard_error`: NaN is not JSON.
    """
    error = standard_error(score)
    if not math.isnan(error):
        return {"standard_error": error}
    reason = "a plain number: its examples are not known"
    if isinstance(score, Score):
        reason = f"{score.num_units} scored example says nothing of its spread"
    return {"standard_error": None, "no_standard_error": reason}


def finite_or_none(value: float) -> float | None:
    """The value as a plain number, None where JSON has none for it."""
    return float(value) if math.isfinite(value) else None


def _check_some(num_units: int) -> None:
    if not num_units:
        raise DataError("There is nothing to score: no example and no prediction.")
