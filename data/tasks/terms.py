"""Metrics as functions of each unit's terms, which are stored with a run.

A unit is an example, or a group of examples that are scored together. Its terms are
what it adds to the sums in a metric's formula, or its pair of numbers in a correlation,
so that a stored score can be resampled without the task's definition.
"""

from collections.abc import Callable
import math

import numpy as np
from scipy import stats

from clinometer.data.errors import DataError
from clinometer.data.tasks import scores
from clinometer.data.tasks.scores import Score


def f1(terms: np.ndarray) -> Score:
    """Returns the F1.

    Args:
        terms: true positives, positives and predicted positives, [N, 3].
    """
    return scores.of_sums(terms, _f1, "f1")


def f1_macro(terms: np.ndarray) -> Score:
    """Returns the mean F1 over classes; a class that does not occur has F1 0.

    Args:
        terms: those of `f1` for each of C classes, [N, 3 C].
    """

    def finish(sums: np.ndarray) -> np.ndarray:
        return _f1(sums.reshape(*sums.shape[:-1], -1, 3)).mean(axis=-1)

    return scores.of_sums(terms, finish, "f1_macro")


def matthews(terms: np.ndarray) -> Score:
    """Returns the multiclass Matthews correlation; see `metrics.matthews`.

    Args:
        terms: 1 in the cell of the confusion matrix of C classes, else 0, [N, C C].
    """
    size = math.isqrt(terms.shape[1])

    def finish(sums: np.ndarray) -> np.ndarray:
        confusion = sums.reshape(*sums.shape[:-1], size, size)
        total = confusion.sum(axis=(-2, -1))
        right = np.trace(confusion, axis1=-2, axis2=-1)
        true, said = confusion.sum(axis=-1), confusion.sum(axis=-2)
        covariance = right * total - (true * said).sum(axis=-1)
        spread = np.sqrt(
            (total**2 - (true**2).sum(axis=-1)) * (total**2 - (said**2).sum(axis=-1))
        )
        return 100 * _ratio(covariance, spread)

    return scores.of_sums(terms, finish, "matthews")


def mean_of_parts(terms: np.ndarray) -> Score:
    """Returns the mean over P parts of the mean of each part's units.

    Args:
        terms: the value of the unit in the column of its part, else 0, then 1 in the
            column of its part, else 0, [N, 2 P].
    """

    def finish(sums: np.ndarray) -> np.ndarray:
        hits, sizes = np.split(sums, 2, axis=-1)
        drawn = np.maximum((sizes > 0).sum(axis=-1), 1)
        return 100 * (hits / np.maximum(sizes, 1)).sum(axis=-1) / drawn

    return scores.of_sums(terms, finish, "mean_of_parts")


def pearson(terms: np.ndarray) -> Score:
    """Returns the Pearson correlation; 0 if all numbers of a column are equal.

    Args:
        terms: pairs of numbers, [N, 2].
    """
    return scores.of_function(
        lambda drawn: _correlation(*terms[drawn].T), len(terms), "pearson", terms
    )


def spearman(terms: np.ndarray) -> Score:
    """Returns the Spearman rank correlation, with ties at their mean rank.

    Args:
        terms: pairs of numbers, [N, 2].
    """
    return scores.of_function(
        lambda drawn: _correlation(*stats.rankdata(terms[drawn].T, axis=1)),
        len(terms),
        "spearman",
        terms,
    )


_STATISTICS: dict[str, Callable[[np.ndarray], Score]] = {
    scores.MEAN: lambda terms: scores.mean(terms[:, 0]),
    "f1": f1,
    "f1_macro": f1_macro,
    "matthews": matthews,
    "mean_of_parts": mean_of_parts,
    "pearson": pearson,
    "spearman": spearman,
}


def rebuild(statistic: str, terms: np.ndarray) -> Score:
    """Returns the score whose `statistic` and `terms` were stored.

    Args:
        statistic: its name.
        terms: float [N, K].

    Raises:
        DataError: the statistic is unknown, or there are no units.
    """
    if statistic not in _STATISTICS:
        raise DataError(
            f"Unknown statistic {statistic!r}; accepted: {', '.join(_STATISTICS)}."
        )
    return _STATISTICS[statistic](terms)


def _f1(counts: np.ndarray) -> np.ndarray:
    return 100 * _ratio(2 * counts[..., 0], counts[..., 1] + counts[..., 2])


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Returns the quotient, or 0 where `below` is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    spread = math.sqrt((x @ x) * (y @ y))
    return 100 * float(x @ y) / spread if spread else 0.0
