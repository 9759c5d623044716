"""The likelihood of the right answer, against SciPy and by hand."""

import math

import numpy as np
import pytest
from scipy import special

from clinometer.data.tasks import registry
from clinometer.data.tasks import task as task_lib
from clinometer.train.downstream import likelihood


def test_certainty_is_100_and_a_uniform_guess_is_0():
    assert likelihood.score(np.zeros((3, 4)), [0, 1, 3]) == pytest.approx(0, abs=1e-12)
    certain = np.array([[0.0, -1e4], [-1e4, 0.0]])
    assert likelihood.score(certain, [0, 1]) == pytest.approx(100)
    # p = 1/4 of the right one of two answers: 1 + ln(1/4) / ln 2 = -1.
    assert likelihood.score(np.log([[3.0, 1.0]]), [1]) == pytest.approx(-100)


def test_score_and_error_agree_with_scipy():
    rng = np.random.default_rng(0)
    logits, right = rng.normal(size=(500, 7)), rng.integers(7, size=500)
    each = 1 + special.log_softmax(logits, axis=1)[range(500), right] / math.log(7)
    # A constant for each example, such as the length of the text, changes nothing.
    found = likelihood.score(logits - 80 * rng.random((500, 1)), right)
    assert found == pytest.approx(100 * each.mean())
    expected = 100 * each.std(ddof=1) / math.sqrt(500)
    assert found.standard_error == pytest.approx(expected, rel=0.1)  # 1,000 resamples


def test_the_answers_of_a_task_are_known_or_not():
    said = [task_lib.Example("", text, (text,)) for text in ("b", "a", "b")]
    assert likelihood.answers(registry.get("cloze"), said) == ("a", "b")
    assert likelihood.answers(registry.get("rte"), said) == registry.get("rte").labels
    assert likelihood.answers(registry.get("squad"), said) == ()
