"""Tests of log records: averages, loss spikes, and resuming between records."""

import json

import numpy as np
import pytest

from clinometer import models
from clinometer.train import state as state_lib
from clinometer.train import step_log


def _values(loss, tokens=10.0, gradient_rms=1.0):
    sums = models.Loss(*(np.float32(x) for x in (loss * tokens, 1.0, tokens, 5.0)))
    rms = np.float32(gradient_rms)
    return state_lib.StepMetrics(
        sums, np.float32(0), np.float32(0.5), rms, np.zeros((1, 3)), {}
    )


def _log(**options):
    defaults = {
        "every_steps": 2,
        "last_step": 5,
        "health_every_steps": 3,
        "health_groups": ["all"],
        "spike_window": 50,
        "spike_threshold": 6.0,
    }
    return step_log.StepLog(**{**defaults, **options})


def test_means_weigh_tokens():
    log = _log()
    assert log.add(1, _values(1.0, tokens=10.0)) is None
    record = log.add(2, _values(4.0, tokens=30.0))
    assert record["train/loss"] == (1.0 * 10 + 4.0 * 30) / 40
    assert record["train/accuracy"] == 10 / 40
    assert record["train/tokens_per_step"] == 20
    assert set(log.add(3, _values(1.0))) == {
        f"health/{name}/all"
        for name in ("gradient_rms", "parameter_rms", "update_ratio")
    }
    assert log.add(4, _values(3.0))["train/loss"] == 2.0
    assert log.add(5, _values(7.0))["train/loss"] == 7.0  # Only the last step.


def test_going_on_between_two_records():
    losses = np.random.default_rng(0).uniform(1, 2, 30)
    losses[21] = 50.0
    whole = _log(every_steps=3, last_step=30)
    expected = [whole.add(i + 1, _values(x)) for i, x in enumerate(losses)]
    assert sum(bool(r and r.get("train/loss_spike")) for r in expected) == 0
    for cut in (4, 16):
        first = _log(every_steps=3, last_step=30)
        records = [first.add(i + 1, _values(x)) for i, x in enumerate(losses[:cut])]
        history = [r["train/loss"] for r in records if r and "train/loss" in r]
        second = _log(
            every_steps=3,
            last_step=30,
            losses=history,
            pending=json.loads(json.dumps(first.pending)),
        )
        records += [second.add(i + 1, _values(losses[i])) for i in range(cut, 30)]
        assert records == expected
        # Mutation: without the pending sums, the next record differs.
        forgetful = _log(every_steps=3, last_step=30, losses=history)
        rest = [forgetful.add(i + 1, _values(losses[i])) for i in range(cut, 30)]
        assert rest != expected[cut:]


def test_a_spike_is_marked_and_remembered():
    log = _log(every_steps=1, last_step=99, health_every_steps=0)
    flat = [1.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.0, 1.0, 1.1, 0.9, 1.0]
    marks = [log.add(i + 1, _values(x))["train/loss_spike"] for i, x in enumerate(flat)]
    assert not any(marks)
    assert log.add(12, _values(3.0))["train/loss_spike"]
    assert not log.add(13, _values(1.0))["train/loss_spike"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (_values(np.nan), "the loss is nan"),
        (_values(np.inf), "the loss is inf"),
        (_values(1.0, gradient_rms=np.nan), "the gradient's RMS is nan"),
        (_values(1.0), None),
    ],
)
def test_nonfinite(values, words):
    assert step_log.nonfinite(values) == words
