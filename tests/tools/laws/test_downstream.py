"""Tests that scores follow from the loss in two steps and directly."""

import numpy as np
import pytest

from clinometer.tests.tools.laws import ladders
from clinometer.tools.fit import errors
from clinometer.tools.laws import downstream
from clinometer.tools.laws import left_out


def _loss(n):
    return 1.7 + 400 * n**-0.34


def _likelihood(n):
    return 90 - 25 * _loss(n)


def _score(n):
    return 50 + 50 / (1 + np.exp(-0.2 * (_likelihood(n) - 30)))


def _rows(**more):
    columns = {"score_rte": _score, "majority_rte": lambda n: 50.0, **more}
    return ladders.ladder(loss=_loss, **columns)


def test_exact_ladders_determine_both_ways():
    frame = ladders.frame(_rows(likelihood_rte=_likelihood))
    (task,) = downstream.fit_all(frame)
    steps = task.two_steps
    found = [steps.slope, steps.intercept, steps.sigmoid.rate, steps.sigmoid.middle]
    np.testing.assert_allclose(found, [-25, 90, 0.2, 30], rtol=1e-4)
    # A sigmoid of a line is a sigmoid.
    assert task.direct.sigmoid.rate == pytest.approx(5.0, rel=1e-4)
    assert steps.sigmoid.determined and task.direct.sigmoid.determined
    assert steps.predict([1.9]) == pytest.approx(task.direct.predict([1.9]), abs=1e-3)
    assert task.signal.clear is None and task.reasons == {}


def test_without_likelihoods_there_is_the_direct_way_only():
    (task,) = downstream.fit_all(ladders.frame(_rows()))
    assert task.two_steps is None and task.direct is not None
    assert "not scored" in task.reasons["two steps"]


def test_held_out_errors_stand_side_by_side():
    def bent(n):  # No line of the loss, so that the two ways differ.
        return _likelihood(n) + 4 * np.log10(n / 1e8) ** 2

    def score(n):
        return 50 + 50 / (1 + np.exp(-0.2 * (bent(n) - 30)))

    rows = _rows(likelihood_rte=bent, score_rte=score)
    made = {o.law: o for o in left_out.of_frame(ladders.frame(rows))}
    steps, direct = made[left_out.TWO_STEPS], made[left_out.DIRECT]
    assert steps.observed == direct.observed == pytest.approx(score(1e9))
    assert steps.points == direct.points == 7
    assert steps.error != pytest.approx(direct.error, abs=0.05)


def test_too_few_sizes():
    rows = _rows(likelihood_rte=_likelihood)[:2]
    (task,) = downstream.fit_all(ladders.frame(rows))
    assert task.direct is None and "3 or more" in task.reasons["direct"]
    with pytest.raises(errors.FitError, match="do not vary"):
        downstream.fit_two_steps([2, 2, 2], [1, 2, 3], [60, 70, 80])
