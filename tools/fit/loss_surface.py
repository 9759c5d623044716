"""Fits the law of size and data: L = floor + A * N^-a + B * D^-b.

All constants are at or above 0. The method is variable projection: for given exponents
the best floor, A and B are a non-negative linear least-squares problem, so only the two
exponents are searched, from every local minimum of a grid of their whole range.
Residuals are relative, (fitted - L) / L. `fit_huber` is the check: the quasi-Newton
method on the sum of Huber losses of ln(fitted / L), as in Hoffmann et al. 2022, from a
grid of starts. Both minimise nearly the same where there are no outliers.

Intervals are profiles, see `profiles`; where one reaches an end of its range, the
constant is not determined. A floor between exponents this free is seldom determined by
fewer than some dozens of runs.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
from scipy import optimize
from scipy import special

from clinometer.tools.fit import profiles
from clinometer.tools.fit.errors import FitError

EXPONENTS = (0.01, 4.0)
_GRID = 24
_STARTS = 5
_CONSTANTS = 5
_HUBER = 1e-3  # As in Hoffmann et al. 2022.
_PROFILE = 40
_HIGHEST = 1 - 1e-3  # Highest floor whose profile is computed, over the smallest L.
_MANY = {"size": "sizes", "tokens": "numbers of tokens"}
# An exponent is determined if its interval is narrower than this factor.
_DETERMINED_WITHIN = 2.0


@dataclasses.dataclass(frozen=True)
class LossSurface:
    """A fitted law, L = floor + A * N^-a + B * D^-b.

    Attributes:
        floor: in nats.
        size_coefficient: A, for N in parameters.
        data_coefficient: B, for D in tokens.
        size_exponent: a.
        data_exponent: b.
        rmse: square root of the mean squared residual, nats.
        r_squared: coefficient of determination; NaN if the losses do not vary.
        residuals: [n], L less the fitted, nats, in the order of the points.
        least_loss: the smallest L, which the floor cannot exceed.
        floor_interval: 95 % profile interval; None if it was not asked for.
        size_exponent_interval: likewise.
        data_exponent_interval: likewise.
    """

    floor: float
    size_coefficient: float
    data_coefficient: float
    size_exponent: float
    data_exponent: float
    rmse: float
    r_squared: float
    residuals: tuple[float, ...]
    least_loss: float
    floor_interval: tuple[float, float] | None = None
    size_exponent_interval: tuple[float, float] | None = None
    data_exponent_interval: tuple[float, float] | None = None

    def predict(
        self, size: Sequence[float] | np.ndarray, tokens: Sequence[float] | np.ndarray
    ) -> np.ndarray:
        """Returns L at the given N and D, nats, in their common shape."""
        size, tokens = np.asarray(size, np.float64), np.asarray(tokens, np.float64)
        return (
            self.floor
            + self.size_coefficient * size**-self.size_exponent
            + self.data_coefficient * tokens**-self.data_exponent
        )

    @property
    def not_determined(self) -> tuple[str, ...]:
        """Names of the constants that the points do not determine.

        An exponent's interval reaches an end of its range or is wider than a factor of
        two; the floor's reaches 0 or the smallest loss.
        """
        found = []
        for name in ("size_exponent", "data_exponent"):
            interval = getattr(self, f"{name}_interval")
            if interval is None or not _determined(*interval):
                found.append(name)
        floors = self.floor_interval
        if floors is None or floors[0] <= 0 or floors[1] >= _HIGHEST * self.least_loss:
            found.append("floor")
        return tuple(found)


def _determined(low: float, high: float) -> bool:
    clear = low > EXPONENTS[0] * 1.001 and high < EXPONENTS[1] * 0.999
    return clear and high < _DETERMINED_WITHIN * low


@dataclasses.dataclass(frozen=True, eq=False)
class _Points:
    """N and D over their geometric means, and L: [n] each."""

    size: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray
    units: tuple[float, float]

    def solve(
        self, exponents: np.ndarray, floor: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns (floor, A, B) and the relative residuals at two exponents, [2]."""
        a, b = exponents
        columns = np.stack([self.size**-a, self.tokens**-b], axis=1)
        target = np.ones_like(self.loss)
        if floor is None:
            columns = np.concatenate([np.ones_like(columns[:, :1]), columns], axis=1)
        else:
            target = target - floor / self.loss
        columns = columns / self.loss[:, np.newaxis]
        found, _ = optimize.nnls(columns, target)
        constants = found if floor is None else np.concatenate([[floor], found])
        return constants, columns @ found - target

    def rss(self, exponents: np.ndarray, floor: float | None = None) -> float:
        return float(np.sum(self.solve(exponents, floor)[1] ** 2))

    def refine(
        self,
        start: np.ndarray,
        floor: float | None = None,
        fixed: int | None = None,
    ) -> np.ndarray:
        """Returns the best exponents near a start; one of them may be fixed: [2]."""
        free = [i for i in range(2) if i != fixed]

        def exponents(logs: np.ndarray) -> np.ndarray:
            full = start.copy()
            full[free] = np.exp(logs)
            return full

        low, high = np.log(EXPONENTS)
        found = optimize.least_squares(
            lambda logs: self.solve(exponents(logs), floor)[1],
            np.clip(np.log(start[free]), low + 1e-9, high - 1e-9),
            bounds=(low, high),
            xtol=1e-13,
            ftol=1e-13,
            gtol=1e-13,
            x_scale=0.1,
        )
        return exponents(found.x)


def fit(
    size: Sequence[float] | np.ndarray,
    tokens: Sequence[float] | np.ndarray,
    loss: Sequence[float] | np.ndarray,
    intervals: bool = True,
) -> LossSurface:
    """Fits the law by variable projection.

    Args:
        size: N, parameters, [n], positive.
        tokens: D, training tokens, [n], positive.
        loss: L, nats, [n], positive.
        intervals: whether to compute the profile intervals.

    Raises:
        FitError: fewer than 6 points, fewer than 3 distinct N or D, N and D in one
            proportion, or values that are not positive and finite.
    """
    points = _points(size, tokens, loss)
    axis = np.geomspace(*EXPONENTS, _GRID)
    rss = np.array([[points.rss(np.array([a, b])) for b in axis] for a in axis])
    starts = [np.array([axis[i], axis[j]]) for i, j in _local_minima(rss)]
    found = [points.refine(start) for start in starts]
    best = min(found, key=points.rss)
    law = _law(points, best)
    if not intervals or len(points.loss) <= _CONSTANTS:
        return law
    largest = profiles.limit(points.rss(best), len(points.loss), _CONSTANTS)
    wide = np.geomspace(*EXPONENTS, _PROFILE)
    floors = np.linspace(0, _HIGHEST * law.least_loss, _PROFILE)
    scale = float(len(points.loss))
    return dataclasses.replace(
        law,
        size_exponent_interval=profiles.interval(
            _Profile(points, best, 0), best[0], wide, largest, scale
        ),
        data_exponent_interval=profiles.interval(
            _Profile(points, best, 1), best[1], wide, largest, scale
        ),
        floor_interval=profiles.interval(
            _Profile(points, best, None), law.floor, floors, largest, scale
        ),
    )


class _Profile:
    """The smallest residual sum of squares for a given exponent or floor."""

    def __init__(self, points: _Points, best: np.ndarray, fixed: int | None):
        self._points, self._best, self._fixed = points, best, fixed

    def __call__(self, value: float) -> float:
        if self._fixed is None:
            found = self._points.refine(self._best, floor=value)
            return self._points.rss(found, value)
        start = self._best.copy()
        start[self._fixed] = value
        # The other exponent's whole range: the profile may have several minima.
        other = 1 - self._fixed
        tried = []
        for exponent in (*np.geomspace(*EXPONENTS, _GRID // 2), self._best[other]):
            start[other] = exponent
            tried.append((self._points.rss(start), exponent))
        start[other] = min(tried)[1]
        return self._points.rss(self._points.refine(start, fixed=self._fixed))


def fit_huber(
    size: Sequence[float] | np.ndarray,
    tokens: Sequence[float] | np.ndarray,
    loss: Sequence[float] | np.ndarray,
) -> LossSurface:
    """Fits the law by BFGS on the sum of Huber losses of ln(fitted / L).

    Args:
        size: as for `fit`.
        tokens: as for `fit`.
        loss: as for `fit`.

    Returns:
        The best of a grid of starts, without intervals.

    Raises:
        FitError: as for `fit`.
    """
    points = _points(size, tokens, loss)
    log_n, log_d = np.log(points.size), np.log(points.tokens)
    log_l = np.log(points.loss)

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        floor, coefficient, other, a, b = x
        terms = np.stack(
            [np.full_like(log_l, floor), coefficient - a * log_n, other - b * log_d]
        )
        fitted = special.logsumexp(terms, axis=0)
        gap = fitted - log_l
        share = np.exp(terms - fitted)  # [3, n]
        pull = np.clip(gap, -_HUBER, _HUBER)
        gradient = [*(share @ pull), -(share[1] * log_n) @ pull]
        gradient.append(-(share[2] * log_d) @ pull)
        # In units of delta, so that the gradient's tolerance means the same for any.
        return (
            float(np.sum(special.huber(_HUBER, gap))) / _HUBER**2,
            np.array(gradient) / _HUBER**2,
        )

    starts = np.geomspace(0.1, 1.0, _STARTS)
    best = None
    for a in starts:
        for b in starts:
            constants, _ = points.solve(np.array([a, b]))
            logs = np.log(np.maximum(constants, 1e-3))
            found = optimize.minimize(objective, [*logs, a, b], jac=True, method="BFGS")
            inside = np.all(found.x[3:] > 0)
            if inside and (best is None or found.fun < best.fun):
                best = found
    if best is None:
        raise FitError("no start of the quasi-Newton method found falling losses")
    floor, coefficient, other = np.exp(best.x[:3])
    return _described(points, best.x[3:], np.array([floor, coefficient, other]))


def agree(law: LossSurface, check: LossSurface) -> bool:
    """Returns whether the check's constants lie in the intervals of the law.

    Args:
        law: from `fit`, with intervals.
        check: from `fit_huber`.
    """
    names = ("size_exponent", "data_exponent", "floor")
    for name in names:
        interval = getattr(law, f"{name}_interval")
        if interval is None:
            return False
        margin = 1e-3 * abs(getattr(law, name))
        value = getattr(check, name)
        if not interval[0] - margin <= value <= interval[1] + margin:
            return False
    return True


def _points(size, tokens, loss) -> _Points:
    """Checks the points."""
    arrays = {
        "size": np.asarray(size, np.float64),
        "tokens": np.asarray(tokens, np.float64),
        "loss": np.asarray(loss, np.float64),
    }
    if len({array.shape for array in arrays.values()}) > 1 or arrays["loss"].ndim != 1:
        raise FitError("size, tokens and loss must be lists of equal length")
    for name, array in arrays.items():
        if not np.all(np.isfinite(array)) or np.any(array <= 0):
            raise FitError(f"{name} must be positive and finite")
    for name in ("size", "tokens"):
        distinct = len(np.unique(arrays[name]))
        if distinct < 3:
            raise FitError(
                f"a law of size and data needs 3 or more distinct {_MANY[name]}, got "
                f"{distinct}; train some sizes for several lengths"
            )
    if len(arrays["loss"]) <= _CONSTANTS:
        raise FitError(
            f"a law of size and data (5 constants) needs 6 or more points, got "
            f"{len(arrays['loss'])}"
        )
    logs = np.log([arrays["size"], arrays["tokens"]])
    if abs(np.corrcoef(logs)[0, 1]) > 1 - 1e-9:
        raise FitError(
            "size and tokens rise in one proportion, so that their effects cannot be "
            "told apart; train some sizes for several lengths"
        )
    units = np.exp(logs.mean(axis=1))
    return _Points(
        arrays["size"] / units[0],
        arrays["tokens"] / units[1],
        arrays["loss"],
        (float(units[0]), float(units[1])),
    )


def _local_minima(rss: np.ndarray) -> list[tuple[int, int]]:
    """Returns the cells of a grid that are not above any of their 8 neighbours."""
    padded = np.pad(rss, 1, constant_values=np.inf)
    rows, columns = rss.shape
    around = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return [(int(i), int(j)) for i, j in np.argwhere(rss <= np.min(around, axis=0))]


def _law(points: _Points, exponents: np.ndarray) -> LossSurface:
    return _described(points, exponents, points.solve(exponents)[0])


def _described(
    points: _Points, exponents: np.ndarray, constants: np.ndarray
) -> LossSurface:
    a, b = map(float, exponents)
    floor, coefficient, other = map(float, constants)
    fitted = floor + coefficient * points.size**-a + other * points.tokens**-b
    residuals = points.loss - fitted
    total = float(np.sum((points.loss - points.loss.mean()) ** 2))
    rss = float(np.sum(residuals**2))
    return LossSurface(
        floor=floor,
        size_coefficient=coefficient * points.units[0] ** a,
        data_coefficient=other * points.units[1] ** b,
        size_exponent=a,
        data_exponent=b,
        rmse=float(np.sqrt(rss / len(residuals))),
        r_squared=1 - rss / total if total > 0 else float("nan"),
        residuals=tuple(map(float, residuals)),
        least_loss=float(points.loss.min()),
    )
