"""The law at a given exponent against SciPy's bounded least squares."""

import numpy as np
import pytest
from scipy import optimize

from clinometer.tools.inference import floor_law

_X = np.array([-1.6, -0.5, 0.5, 1.6])
_NEW = 2.8


def _law(means, seed=0):
    root = np.random.default_rng(seed).standard_normal((4, 4)) * 0.3 + np.eye(4)
    return floor_law.FloorLaw(_X, _NEW, np.asarray(means, float), root @ root.T), root


@pytest.mark.parametrize(
    "means",
    [
        [4.5, 4.3, 4.2, 4.15],  # Both constants.
        [4.0, 2.0, 1.0, 0.3],  # The floor would lie below 0.
        [4.0, 4.1, 4.2, 4.3],  # A loss that rises: no gain.
    ],
)
@pytest.mark.parametrize("exponent", [0.05, 0.5, 2.0])
def test_it_is_bounded_least_squares(means, exponent):
    law, root = _law(means)
    misfit, value = law.of_means(np.array([exponent]))
    model = np.stack([np.exp(-exponent * _X), np.ones(4)], axis=1)
    theirs = optimize.lsq_linear(
        root.T @ model, root.T @ law.means, bounds=(0, np.inf), tol=1e-14
    )
    np.testing.assert_allclose(misfit[0], 2 * theirs.cost, rtol=1e-6, atol=1e-10)
    new = np.array([np.exp(-exponent * _NEW), 1.0])
    np.testing.assert_allclose(value[0], new @ theirs.x, rtol=1e-5)


def test_the_variance_is_that_of_finite_differences():
    """Of loss(new) in the three constants, with the information of the means."""
    law, _ = _law([4.5, 4.3, 4.2, 4.15])
    at = np.array([0.2, 4.1, 0.7])  # Coefficient, floor, exponent.

    def losses(p):
        return p[0] * np.exp(-p[2] * np.append(_X, _NEW)) + p[1]

    step = 1e-6 * np.eye(3)
    slopes = np.stack([(losses(at + s) - losses(at - s)) / 2e-6 for s in step], axis=1)
    model, new = slopes[:-1], slopes[-1]
    expected = new @ np.linalg.inv(model.T @ law.weight @ model) @ new
    np.testing.assert_allclose(law.variance(np.array(0.7)), expected, rtol=1e-6)
    assert abs(law.variance(np.array(0.6)) - expected) > 1e-3 * expected


def test_a_finer_grid_lies_around_what_fits():
    law, _ = _law([4.5, 4.3, 4.2, 4.15])
    coarse = law.coarse()
    misfit, _ = law.of_means(coarse)
    reach = np.array(0.001)
    fitting = coarse[misfit <= misfit.min() + reach]
    finer = law.refined(coarse, misfit, reach)[len(coarse) :]
    assert finer[0] < fitting.min() and fitting.max() < finer[-1]
    assert finer[0] > fitting.min() / 1.1 and finer[-1] < fitting.max() * 1.1
    # The new loss's interval grows with what is allowed.
    narrow = law.of_new(coarse, np.array(1e-4), misfit.min() + 0.001)
    wide = law.of_new(coarse, np.array(1e-4), misfit.min() + 0.01)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
