"""Scores and likelihoods of a fine-tuning are read with their errors and items."""

import numpy as np
import pytest

from clinometer.data.tasks import scores
from clinometer.data.tasks import task as task_lib
from clinometer.train.downstream import best_scores
from clinometer.train.downstream import item_scores
from clinometer.train.run import directory as run_directory
from clinometer.train.run import record as run_record

_SCORE = best_scores.Name("rte")
_LIKELIHOOD = best_scores.Name("rte", "likelihood")
_RIGHT = [1, 1, 1, 0]
_VALUES = [0.9, 0.5, 0.7, -0.5]  # Their mean is 0.4, their variance 0.29.


def read(folder, **entry):
    record = run_record.from_json(
        {
            "format_version": 1,
            "model": "transformer-pico",
            "status": "finished",
            "seed": 0,
            "downstream": {"tasks": {"rte": {"best": 75.0, "best_step": 4, **entry}}},
        }
    )
    return best_scores.read(run_directory.RunDirectory(folder), record)


def write(folder):
    place = run_directory.RunDirectory(folder).predictions.of_step(4)
    place.mkdir(parents=True)
    metrics = {"accuracy": scores.mean(_RIGHT), "likelihood": scores.mean(_VALUES)}
    examples = [task_lib.Example(str(k), "", 0) for k in range(4)]
    item_scores.write(place / "rte.npz", examples, metrics, ["accuracy"])


def test_a_likelihood_has_the_error_of_its_items(tmp_path):
    write(tmp_path)
    found = read(tmp_path, standard_error=21.0, low=30.0, high=95.0, likelihood=40.0)
    assert list(found) == [_SCORE, _LIKELIHOOD]
    score, likelihood = found.values()
    assert (score.value, score.interval, score.standard_error) == (75, (30, 95), 21)
    assert (likelihood.value, likelihood.step) == (40, 4)
    # sd / sqrt(N), from 1,000 resamples.
    expected = 100 * np.sqrt(0.29 / 4)
    assert likelihood.standard_error == pytest.approx(expected, rel=0.1)
    assert likelihood.interval[0] < 40 < likelihood.interval[1]
    np.testing.assert_array_equal(score.items.number.terms[:, 0], _RIGHT)
    np.testing.assert_array_equal(likelihood.items.number.terms[:, 0], _VALUES)


def test_what_a_run_does_not_have(tmp_path):
    # Of an earlier version: neither likelihoods nor items.
    (score,) = read(tmp_path).values()
    assert (score.value, score.interval, score.items) == (75, None, None)
    likelihood = read(tmp_path, likelihood=40.0)[_LIKELIHOOD]
    assert (likelihood.value, likelihood.interval, likelihood.items) == (40, None, None)
    # Items that are not those of the recorded likelihood.
    write(tmp_path)
    other = read(tmp_path, likelihood=41.0)
    assert other[_LIKELIHOOD].items is None and other[_SCORE].items is not None


def test_names():
    assert [str(_SCORE), str(_LIKELIHOOD)] == ["rte", "rte, likelihood"]
