"""Scores that are rebuilt from their stored terms, and statistics of resamples."""

import numpy as np
import pytest
from scipy import stats

from clinometer.data.errors import DataError
from clinometer.data.tasks import glue
from clinometer.data.tasks import metrics
from clinometer.data.tasks import scores
from clinometer.data.tasks import task as task_lib
from clinometer.data.tasks import terms


def every_metric():
    rng = np.random.default_rng(0)
    answers, said = rng.integers(0, 3, 60), rng.integers(-1, 3, 60)
    numbers = rng.integers(0, 26, (2, 60)) / 5
    groups = np.repeat(np.arange(20), 3)
    labels = glue.MNLI.labels
    mnli = [
        task_lib.Example("", labels[a], int(a), ("matched", "mismatched")[i % 2])
        for i, a in enumerate(answers)
    ]
    return {
        "accuracy": metrics.accuracy(answers, said),
        "matthews": metrics.matthews(answers, said),
        "f1": metrics.f1_binary(answers % 2, said % 2),
        "f1_macro": metrics.f1_macro(answers, said, 3),
        **metrics.multirc(groups, answers % 2, said % 2),
        "pearson": metrics.pearson(*numbers),
        "spearman": metrics.spearman(*numbers),
        **metrics.squad(["a b c"] * 9, ["a", "b c", "x"] * 3),
        "mnli": glue.MNLI.score(mnli, [labels[s] for s in said])["accuracy"],
    }


@pytest.mark.parametrize("name", every_metric())
def test_a_rebuilt_score_resamples_as_the_first_did(name):
    score = every_metric()[name]
    rebuilt = terms.rebuild(score.statistic, score.terms)
    assert rebuilt == score
    assert rebuilt.num_units == score.num_units
    np.testing.assert_array_equal(rebuilt.resample(50, 3), score.resample(50, 3))
    changed = score.terms.copy()
    changed[0] = changed[0][::-1] + 1
    assert terms.rebuild(score.statistic, changed) != score


def test_correlations_of_resamples_are_scipy_s():
    rng = np.random.default_rng(1)
    pairs = rng.integers(0, 9, (30, 2)).astype(float)
    drawn = rng.integers(30, size=(4, 30))
    for function, made in (
        (stats.pearsonr, terms.pearson(pairs)),
        (stats.spearmanr, terms.spearman(pairs)),
    ):
        expected = [100 * function(*pairs[row].T).statistic for row in drawn]
        np.testing.assert_allclose(made.replicates(drawn), expected)


def test_an_unknown_statistic_is_refused():
    with pytest.raises(DataError, match="Unknown statistic 'bleu'; accepted: mean, f1"):
        terms.rebuild("bleu", np.zeros((2, 1)))


def test_a_metric_of_one_s_own_has_no_terms():
    score = scores.of_sums([1.0, 0.0], lambda sums: 100 * sums[..., 0] ** 2)
    assert score.statistic is score.terms is None
