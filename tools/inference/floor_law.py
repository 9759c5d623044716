"""A power law with a floor, given its exponent: linear, so solved exactly.

loss(C) = coefficient * C^-exponent + floor with both constants at or above 0, fitted to
means by generalised least squares. The exponent is left to a grid: coarse over all
exponents, then finer over those that still fit. Leading axes "..." are data sets.
"""

from collections.abc import Iterator
import dataclasses

import numpy as np

EXPONENTS = np.geomspace(0.01, 4, 80)
_FINE = 32
# Columns of (C^-exponent, 1) in use: both, no floor, no gain. The best of those with
# constants at or above 0 is the constrained optimum.
_FORMS = ([0, 1], [0], [1])


@dataclasses.dataclass(frozen=True, eq=False)
class Solved:
    """The law at one exponent in one of its forms, p constants.

    Attributes:
        constants: the constants of the law, [..., p].
        misfit: chi^2, [...].
        value: the loss at the new cost, nats, [...].
        pull: how the constants follow a new loss, [..., p].
        spread: the value's variance, nats^2, [...].
    """

    constants: np.ndarray
    misfit: np.ndarray
    value: np.ndarray
    pull: np.ndarray
    spread: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class FloorLaw:
    """One architecture's means, and a new cost.

    Attributes:
        x: ln of the sizes' costs, about their mean, [sizes].
        new_x: ln of the new cost, likewise.
        means: means of the sizes, nats, [..., sizes].
        weight: inverse covariance of the means, [..., sizes, sizes].
    """

    x: np.ndarray
    new_x: float
    means: np.ndarray
    weight: np.ndarray

    def coarse(self) -> np.ndarray:
        """All exponents to try at first: [exponents, ...]."""
        shape = self.means.shape[:-1]
        return np.broadcast_to(
            EXPONENTS.reshape(-1, *(1 for _ in shape)), (len(EXPONENTS), *shape)
        )

    def refined(
        self, exponents: np.ndarray, misfit: np.ndarray, reach: np.ndarray
    ) -> np.ndarray:
        """Adds a finer grid over the exponents that fit, and their neighbours.

        Args:
            exponents: in any order, [exponents, ...].
            misfit: there, the same shape.
            reach: by how much the misfit may exceed its minimum, [...].

        Returns:
            [more exponents, ...].
        """
        fits = misfit <= misfit.min(axis=0) + reach
        low = np.min(np.where(fits, exponents, np.inf), axis=0)
        high = np.max(np.where(fits, exponents, -np.inf), axis=0)
        below = np.max(np.where(exponents < low, exponents, EXPONENTS[0]), axis=0)
        above = np.min(np.where(exponents > high, exponents, EXPONENTS[-1]), axis=0)
        return np.concatenate([exponents, np.geomspace(below, above, _FINE)])

    def of_means(self, exponents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The best misfit and its value at each exponent.

        Args:
            exponents: [exponents, ...].

        Returns:
            chi^2 and nats, [exponents, ...] each.
        """
        misfits, values = [], []
        for exponent in exponents:
            forms = list(self._forms(exponent))
            misfit = np.stack(
                [
                    np.where(np.all(f.constants >= 0, -1), f.misfit, np.inf)
                    for f in forms
                ]
            )
            best = np.argmin(misfit, axis=0)[np.newaxis]
            value = np.stack([f.value for f in forms])
            misfits.append(np.take_along_axis(misfit, best, axis=0)[0])
            values.append(np.take_along_axis(value, best, axis=0)[0])
        return np.stack(misfits), np.stack(values)

    def of_new(
        self, exponents: np.ndarray, own: np.ndarray, allowed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest new loss whose misfit with the means is allowed.

        Args:
            exponents: [exponents, ...].
            own: variance of the new loss around the law, nats^2, [...].
            allowed: largest chi^2 of means and new loss together, [...].

        Returns:
            nats, [...] each.
        """
        low = np.full(self.means.shape[:-1], np.inf)
        high = -low
        for exponent in exponents:
            for form in self._forms(exponent):
                room = allowed - form.misfit
                total = form.spread + own
                reach = np.sqrt(np.maximum(room, 0) * total)
                for move in (-reach, reach):
                    moved = form.constants + (move / total)[..., np.newaxis] * form.pull
                    fits = (room >= 0) & np.all(moved >= 0, axis=-1)
                    new = form.value + move
                    low = np.where(fits, np.minimum(low, new), low)
                    high = np.where(fits, np.maximum(high, new), high)
        return low, high

    def variance(self, exponent: np.ndarray) -> np.ndarray:
        """The value's variance with the exponent free, linearised: nats^2, [...]."""
        columns = self._columns(exponent)
        slope = -columns[..., :1] * np.append(self.x, self.new_x)[:, np.newaxis]
        columns = np.concatenate([columns, slope], axis=-1)
        model, new = columns[..., :-1, :], columns[..., -1, :]
        inverse = np.linalg.pinv(np.swapaxes(model, -1, -2) @ self.weight @ model)
        return np.einsum("...p,...pq,...q->...", new, inverse, new)

    def _forms(self, exponent: np.ndarray) -> Iterator[Solved]:
        """Least squares of each form at an exponent, [...]."""
        columns = self._columns(exponent)
        for form in _FORMS:
            model, new = columns[..., :-1, form], columns[..., -1, form]
            weighted = np.swapaxes(model, -1, -2) @ self.weight  # [..., p, sizes]
            inverse = np.linalg.inv(weighted @ model)
            pulled = np.einsum("...ps,...s->...p", weighted, self.means)
            constants = np.einsum("...pq,...q->...p", inverse, pulled)
            gap = self.means - np.einsum("...sp,...p->...s", model, constants)
            pull = np.einsum("...pq,...q->...p", inverse, new)
            yield Solved(
                constants=constants,
                misfit=np.einsum("...s,...st,...t->...", gap, self.weight, gap),
                value=np.sum(constants * new, axis=-1),
                pull=pull,
                spread=np.sum(pull * new, axis=-1),
            )

    def _columns(self, exponent: np.ndarray) -> np.ndarray:
        """C^-exponent and 1, at the sizes and the new cost: [..., sizes + 1, 2]."""
        x = np.append(self.x, self.new_x)
        decay = np.exp(-np.asarray(exponent)[..., np.newaxis] * x)
        return np.stack([decay, np.ones_like(decay)], axis=-1)
