"""Bootstrapped standard errors, compared with closed forms."""

import json
import math
import pickle

import numpy as np
import pytest

from clinometer.data.errors import DataError
from clinometer.data.tasks import scores
from clinometer.data.tasks import terms

# With 1,000 resamples, the relative error of a standard deviation is 1 / sqrt(2,000) =
# 2.2 %, and that of an end of an interval a quarter of a standard error.
DRAWN, ENDS = 0.08, 0.7


def test_the_error_of_a_share_is_the_binomial_one():
    right = np.arange(277) < 166  # the rows of RTE's validation set
    score = scores.mean(right)
    share = 166 / 277
    expected = 100 * math.sqrt(share * (1 - share) / 277)
    assert score == pytest.approx(100 * share)
    assert round(expected, 2) == 2.94
    found = score.bootstrap()
    assert found.standard_error == pytest.approx(expected, rel=DRAWN)
    assert score.standard_error == found.standard_error
    assert found.low == pytest.approx(100 * share - 1.96 * expected, abs=ENDS)
    assert found.high == pytest.approx(100 * share + 1.96 * expected, abs=ENDS)
    half = score.bootstrap(confidence=0.5)
    assert half.high - half.low == pytest.approx(2 * 0.674 * expected, abs=ENDS)


def test_the_error_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).random(400)
    expected = 100 * values.std() / math.sqrt(400)
    assert scores.mean(values).standard_error == pytest.approx(expected, rel=DRAWN)
    function = scores.of_function(lambda drawn: 100 * values[drawn].mean(), 400)
    assert function.bootstrap() == pytest.approx(scores.mean(values).bootstrap())


def test_resampling_is_repeatable_and_seeded():
    values = np.random.default_rng(0).random(50)
    first = scores.mean(values).bootstrap()
    assert scores.mean(values).bootstrap() == first
    assert scores.mean(values).bootstrap(seed=1) != first


def test_drawing_in_parts_is_the_same(monkeypatch):
    values = np.random.default_rng(0).random(50)
    whole = scores.mean(values).bootstrap(resamples=30)
    monkeypatch.setattr(scores, "_CHUNK", 50 * 7)
    assert scores.mean(values).bootstrap(resamples=30) == pytest.approx(whole)


def test_the_mean_of_metrics_keeps_what_they_share():
    values = np.random.default_rng(0).random(300)
    same, opposite = scores.mean(values), scores.mean(1 - values)
    assert scores.average([same, same]) == same
    assert scores.average([same]) is same
    error = scores.average([same, same]).standard_error
    assert error == pytest.approx(same.standard_error)
    # The two are exactly anticorrelated, so their mean is always 50.
    assert scores.average([same, opposite]) == pytest.approx(50)
    found = scores.average([same, opposite]).bootstrap()
    assert found.standard_error == pytest.approx(0, abs=1e-9)


def test_a_mean_with_a_plain_number_has_no_error():
    score = scores.average([scores.mean([1, 0, 1]), 50.0])
    assert score == pytest.approx((200 / 3 + 50) / 2)
    assert math.isnan(scores.standard_error(score))
    other = scores.average([scores.mean([1, 0, 1]), scores.mean([1, 0])])
    assert math.isnan(scores.standard_error(other))


def test_one_unit_says_nothing_of_the_error_and_none_is_an_error():
    assert all(map(math.isnan, scores.mean([1.0]).bootstrap()))
    with pytest.raises(DataError, match="nothing to score"):
        scores.mean([])
    with pytest.raises(DataError, match="nothing to score"):
        scores.of_function(lambda drawn: 0.0, 0)


def test_stored_it_is_its_value():
    score = scores.mean([1, 0, 1, 1])
    assert json.dumps({"em": score}) == '{"em": 75.0}'
    assert pickle.loads(pickle.dumps(score)) == 75.0


def test_a_record_says_why_a_score_has_no_error():
    score = scores.mean([1.0, 0.0])
    low, high = score.interval
    error = score.standard_error
    known = scores.describe_error(score)
    assert known == {"standard_error": error, "low": low, "high": high}
    constant = terms.matthews(np.eye(4)[[0, 2, 0, 2]])  # Always predicts class 0.
    for score, reason in (
        (scores.mean([1.0]), "1 scored example"),
        (50.0, "plain"),
        (constant, "have the same score"),
    ):
        found = scores.describe_error(score)
        assert found["standard_error"] is found["low"] is found["high"] is None
        assert reason in found["no_standard_error"]


def test_the_interval_of_a_proportion_is_wilson_s():
    # By hand, for 166 of 277 with z = 1.96.
    share, n, z2 = 166 / 277, 277, 1.959964**2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    found = scores.mean(np.arange(277) < 166).interval
    assert found == pytest.approx((100 * (center - reach), 100 * (center + reach)))
    # A predictor that is never right is not certain to be so: z2 / (n + z2).
    never = scores.mean(np.zeros(100))
    assert never.interval == pytest.approx((0, 100 * z2 / (100 + z2)))
    assert math.isnan(never.standard_error)


def test_the_interval_of_another_score_is_bootstrapped():
    values = np.random.default_rng(0).random(50)
    score = scores.mean(values)
    assert score.interval == score.bootstrap()[1:]
    assert scores.interval(score) == score.interval
    for unknown in (50.0, scores.mean([1.0]), scores.mean([0.5, 0.5])):
        assert all(map(math.isnan, scores.interval(unknown)))
