"""The paired bootstrap of rows against the closed form of a ratio of sums."""

import dataclasses

import numpy as np
import pytest

from clinometer.tools.inference import errors
from clinometer.tools.inference import paired_losses
from clinometer.train.run import validation_rows


def rows(losses, targets, step=5):
    digests = np.arange(len(losses), dtype=np.uint64)
    return validation_rows.ValidationRows(step, digests, losses, targets)


def drawn(seed, number=400, gain=0.05):
    """Losses of two models that share the difficulty of their rows."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(5, 30, number)
    shared = rng.normal(4, 1, number)
    one, other = (
        targets * (shared + shift + rng.normal(0, 0.2, number)) for shift in (gain, 0)
    )
    return rows(one, targets), rows(other, targets)


def test_the_error_is_that_of_a_ratio_of_sums():
    one, other = drawn(0)
    found = paired_losses.compare(one, other)
    total = one.targets.sum()
    difference = (one.losses - other.losses).sum() / total
    assert found.difference == pytest.approx(difference)
    assert found.losses == pytest.approx(
        (one.losses.sum() / total, other.losses.sum() / total)
    )
    # Linearised: the sum of (d - difference t) over the sum of t, float64.
    rest = one.losses - other.losses - difference * one.targets
    expected = np.sqrt(np.sum(rest**2)) / total
    # 10,000 resamples: 1 / sqrt(20,000) = 0.7 %, and the linearisation's own error.
    assert found.standard_error == pytest.approx(expected, rel=0.03)
    low, high = found.interval
    # Four standard errors of a 2.5 % quantile of 10,000 resamples, 0.027 each.
    assert low == pytest.approx(difference - 1.96 * expected, abs=0.1 * expected)
    assert high == pytest.approx(difference + 1.96 * expected, abs=0.1 * expected)
    # Unpaired, the rows' difficulty would make it several times as wide.
    assert np.std(one.losses / one.targets) / np.sqrt(400) > 3 * expected


def test_the_order_of_the_runs_only_changes_the_sign():
    one, other = drawn(1)
    found = paired_losses.compare(one, other, resamples=200)
    swapped = paired_losses.compare(other, one, resamples=200)
    assert swapped.difference == -found.difference
    assert swapped.interval == pytest.approx((-found.interval[1], -found.interval[0]))


def test_it_says_that_it_compares_no_architectures():
    assert "does not compare architectures" in paired_losses.SCOPE
    assert "never two architectures" in paired_losses.__doc__.replace("\n", " ")


def test_other_rows_are_refused():
    one, other = drawn(2, number=10)
    digests = other.digests.copy()
    digests[3] += 100
    changed = dataclasses.replace(other, digests=digests)
    with pytest.raises(errors.InferenceError, match="10 and 10 rows, of which 9 are"):
        paired_losses.compare(one, changed)
    short = rows(other.losses[:7], other.targets[:7])
    with pytest.raises(errors.InferenceError, match="10 and 7 rows"):
        paired_losses.compare(one, short)
    alone = rows(one.losses[:1], one.targets[:1])
    with pytest.raises(errors.InferenceError, match="at least two"):
        paired_losses.compare(alone, alone)


def test_a_copy_is_refused():
    one, _ = drawn(3, number=10)
    with pytest.raises(errors.InferenceError, match="a copy of the other"):
        paired_losses.compare(one, one)


@pytest.mark.slow
def test_coverage():
    """Of 2,000 pairs of models, 95 % of the intervals hold the rows' true gain."""
    held = 0
    for seed in range(2000):
        found = paired_losses.compare(*drawn(seed, number=150), resamples=500)
        held += found.interval[0] <= 0.05 <= found.interval[1]
    # A standard error of 0.5 %; percentile intervals of 150 rows are a little narrow.
    assert 0.93 <= held / 2000 <= 0.97
