"""Tests of the processes that write nothing."""

import types

import numpy as np
import pytest

from clinometer import models
from clinometer.train import errors
from clinometer.train import state as state_lib
from clinometer.train.host import bystander


class _Checkpoints:
    steps = (4,)

    def __init__(self):
        self.saved = []

    def save(self, step, state, **more):
        self.saved.append((step, state, more))

    def wait(self):
        pass


@pytest.fixture
def made():
    """A bystander of a run with batches of 4 rows."""
    config = types.SimpleNamespace(data=types.SimpleNamespace(batch_size=4))
    job = types.SimpleNamespace(config=config, identity={"seed": 0})
    return bystander.Bystander(job, stopwatch=None)


def _metrics(loss):
    sums = models.Loss(*np.float32([loss, 0.0, 1.0, 0.0]))
    return state_lib.StepMetrics(sums, 0.0, 0.1, 1.0, np.zeros([0, 3]), {})


def test_a_loss_that_is_nan_ends_it_as_it_ends_process_0(made):
    made.step_done(5, _metrics(2.0), _Checkpoints())
    words = (
        r"step 6: .* batch index 5 \(starting at example 20\). Last good checkp.*: 4"
    )
    with pytest.raises(errors.DivergedError, match=words):
        made.step_done(6, _metrics(np.nan), _Checkpoints())


def test_it_takes_part_in_saves(made):
    checkpoints = _Checkpoints()
    made.save(checkpoints, 8, "state", {"validation/loss": 2.0})
    more = {"identity": {"seed": 0}, "progress": {}}
    expected = (8, "state", more | {"metrics": {"validation/loss": 2.0}})
    assert checkpoints.saved == [expected]


def test_it_scores_but_writes_nothing(made):
    scored = types.SimpleNamespace(flat=lambda: {"downstream/rte": 50.0})
    assert made.score(lambda params: scored, 8, "params") == {"downstream/rte": 50.0}
    assert not made.is_best_of_a_task(8)
