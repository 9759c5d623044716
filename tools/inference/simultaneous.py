"""Families of tests and intervals that hold together: multivariate t, and Holm.

The quantile q of a family is P(max |T_i| <= q) = confidence for a multivariate t with
the contrasts' own correlation and the family's smallest degrees of freedom. Shapes and
leading axes as in `contrasts`.
"""

import dataclasses
import functools

import numpy as np
from scipy import optimize
from scipy import special
from scipy import stats

from clinometer.tools.inference import contrasts
from clinometer.tools.inference import linear_model

# Quasi-random points; the quantile so errs by some 0.002 (in units of a t value).
_LOG2_POINTS = 14

# Simulations interpolate the quantile between this many slopes of the variance.
_NODES = 17


@dataclasses.dataclass(frozen=True, eq=False)
class Family:
    """Contrasts judged together.

    Attributes:
        estimates: the m contrasts.
        quantile: quantile of max |T|, [...].
        degrees: smallest degrees of freedom of the family, [...].
        low: low ends of the simultaneous intervals, [..., m].
        high: high ends of the simultaneous intervals, [..., m].
    """

    estimates: contrasts.Estimates
    quantile: np.ndarray
    degrees: np.ndarray
    low: np.ndarray
    high: np.ndarray


def max_t_probability(
    correlation: np.ndarray, degrees: float, bound: np.ndarray | float
) -> np.ndarray:
    """P(max |T_i| <= bound) of a central multivariate t.

    Args:
        correlation: [m, m], may be singular.
        degrees: of freedom, above 0.
        bound: [...], above 0.

    Returns:
        Probability, the shape of bound.
    """
    largest = _largest_normals(np.asarray(correlation, np.float64))
    return _max_t(largest, degrees, np.asarray(bound, np.float64))


def max_t_quantile(
    correlation: np.ndarray, degrees: float, confidence: float = 0.95
) -> float:
    """The q with P(max |T_i| <= q) = confidence; a t quantile for one contrast."""
    alone = float(stats.t.ppf(0.5 + confidence / 2, degrees))
    m = len(correlation)
    if m == 1:
        return alone
    largest = _largest_normals(np.asarray(correlation, np.float64))
    bonferroni = float(stats.t.ppf(1 - (1 - confidence) / (2 * m), degrees))
    return float(
        optimize.brentq(
            lambda q: float(_max_t(largest, degrees, np.asarray(q))) - confidence,
            alone * 0.99,
            bonferroni * 1.01,
            xtol=1e-6,
        )
    )


def family(
    fitted: linear_model.Fit, coefficients: np.ndarray, confidence: float = 0.95
) -> Family:
    """Estimates contrasts with intervals that cover together.

    Args:
        fitted: the model.
        coefficients: of the cells' means, [m, C].
        confidence: that all intervals hold.

    Raises:
        InferenceError: a contrast cannot be told from a difference between orders.
    """
    estimates = contrasts.estimate(fitted, coefficients)
    quantile = _quantiles(fitted, np.asarray(coefficients, np.float64), confidence)
    reach = quantile[..., np.newaxis] * estimates.standard_error
    return Family(
        estimates=estimates,
        quantile=quantile,
        degrees=estimates.degrees.min(axis=-1),
        low=estimates.value - reach,
        high=estimates.value + reach,
    )


def adjusted_p(judged: Family) -> np.ndarray:
    """P-values of one data set's family, adjusted by the multivariate t: [m].

    The smallest level at which the simultaneous interval excludes 0.
    """
    estimates = judged.estimates
    bound = np.abs(estimates.value) / estimates.standard_error
    if len(bound) == 1:
        return estimates.p_two_sided()
    return 1 - max_t_probability(estimates.correlation, float(judged.degrees), bound)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values: reject those at or below the level of the family.

    Args:
        p_values: one family along the last axis, [..., m].

    Returns:
        [..., m].
    """
    p_values = np.asarray(p_values, np.float64)
    m = p_values.shape[-1]
    order = np.argsort(p_values, axis=-1)
    rising = np.take_along_axis(p_values, order, axis=-1) * (m - np.arange(m))
    rising = np.minimum(np.maximum.accumulate(rising, axis=-1), 1)
    adjusted = np.empty_like(rising)
    np.put_along_axis(adjusted, order, rising, axis=-1)
    return adjusted


def _quantiles(
    fitted: linear_model.Fit, coefficients: np.ndarray, confidence: float
) -> np.ndarray:
    """The quantile of each data set: [...].

    Correlation and degrees of freedom depend on the design and the slope of the
    variance only, so many data sets share one curve of quantiles over that slope.
    """
    slope = fitted.variance.slope
    ends = float(np.min(slope)), float(np.max(slope))
    nodes = np.linspace(*ends, _NODES) if ends[1] > ends[0] else np.array(ends[:1])
    at_nodes = dataclasses.replace(
        fitted.variance,
        level=np.zeros_like(nodes),
        slope=nodes,
        at_bound=np.zeros(nodes.shape, bool),
    )
    covariance, degrees = contrasts.precision(at_nodes, coefficients)
    error = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    correlation = covariance / (error[:, :, np.newaxis] * error[:, np.newaxis, :])
    quantiles = [
        max_t_quantile(c, d, confidence)
        for c, d in zip(correlation, degrees.min(axis=-1))
    ]
    return np.interp(slope, nodes, quantiles)


def _largest_normals(correlation: np.ndarray) -> np.ndarray:
    """Sorted max |Z_i| at quasi-random points of a multivariate normal."""
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0))
    return np.max(np.abs(_normal_points(len(correlation)) @ root.T), axis=1)


@functools.lru_cache(maxsize=16)
def _normal_points(m: int) -> np.ndarray:
    """Scrambled Sobol points of m independent standard normals: [2^_LOG2_POINTS, m]."""
    sobol = stats.qmc.Sobol(m, scramble=True, rng=np.random.default_rng(0))
    return special.ndtri(sobol.random_base2(_LOG2_POINTS))


def _max_t(largest: np.ndarray, degrees: float, bound: np.ndarray) -> np.ndarray:
    """Averages over the normals; the chi of the t's denominator is integrated exactly.

    max |Z| / s <= bound exactly where degrees s^2 >= degrees (max |Z| / bound)^2.
    """
    ratio = degrees * (largest / bound[..., np.newaxis]) ** 2
    return np.mean(special.gammaincc(degrees / 2, ratio / 2), axis=-1)
