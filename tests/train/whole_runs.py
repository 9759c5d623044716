"""Helpers that read and compare the run directories of whole runs."""

import json
import pathlib
from typing import Any

import jax
from ml_collections import config_dict
import numpy as np
import pytest

from clinometer.train import job as job_lib
from clinometer.train import state as state_lib
from clinometer.train.run import checkpoints
from clinometer.train.run import metrics_log


def record(workdir: pathlib.Path) -> dict[str, Any]:
    """Returns the JSON object in the run's record."""
    return json.loads((workdir / "run.json").read_text())


def log(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the records of the log, without invalid lines."""
    return metrics_log.parse((workdir / "metrics.jsonl").read_bytes())[0]


def records(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the records of the log, without the fields under `wall/`."""
    return [metrics_log.without_wall(r) for r in log(workdir)]


def saved_state(
    workdir: pathlib.Path, config: config_dict.FrozenConfigDict
) -> tuple[job_lib.Job, state_lib.TrainState]:
    """Returns the job of a configuration, and the newest saved state on the host."""
    job = job_lib.prepare(config)
    manager = checkpoints.Checkpoints(workdir / "checkpoints", keep_last=9, keep_best=9)
    abstract = jax.eval_shape(
        lambda: state_lib.initialise(job.model, job.optimizer, job.config.seed)
    )
    state, _ = manager.restore(abstract, job.identity)
    manager.close()
    return job, jax.device_get(state)


def assert_same(
    workdir: pathlib.Path,
    expected: pathlib.Path,
    config: config_dict.FrozenConfigDict,
) -> None:
    """Asserts that two runs have the same records and the same state, bit for bit."""
    assert records(workdir) == records(expected)
    _, state = saved_state(workdir, config)
    _, expected_state = saved_state(expected, config)
    jax.tree.map(np.testing.assert_array_equal, state, expected_state)


def compile_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a test fail if anything is compiled."""

    def refuse(*unused: Any, **also_unused: Any) -> None:
        raise AssertionError("compiled something")

    monkeypatch.setattr(jax, "jit", refuse)
