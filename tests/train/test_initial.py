"""Tests of runs that start from the checkpoint of another run."""

import contextlib
import hashlib
import json
import shutil

import jax
import numpy as np
import pytest

from clinometer.tests.train import whole_runs
from clinometer.train import errors
from clinometer.train import initial
from clinometer.train import job as job_lib
from clinometer.train import main
from clinometer.train import state as state_lib
from clinometer.train.run import canonical
from clinometer.train.run import checkpoints


@pytest.fixture(scope="module")
def pretrained(arguments, tmp_path_factory):
    """A run of 8 steps with checkpoints at 4 and 8; must not be modified."""
    workdir = tmp_path_factory.mktemp("pretrained") / "run"
    keep = "checkpoint.keep_every_steps=4"
    assert main.main([*arguments(keep), f"--workdir={workdir}"]) == 0
    return workdir


def saved(workdir, step, config):
    job = job_lib.prepare(config)
    abstract = jax.eval_shape(
        lambda: state_lib.initialise(job.model, job.optimizer, seed=0)
    )
    folder = workdir / "checkpoints"
    return checkpoints.Checkpoints(folder, read_only=True).read(step, abstract)


@pytest.mark.parametrize("slots", initial.SLOTS)
def test_parameters_and_slots_are_taken(pretrained, make_config, slots):
    config = make_config(
        f"initial.run={pretrained}",
        "initial.step=4",
        f"initial.optimizer_slots={slots}",
        "model.scan_layers=true",  # Another form of the same parameters.
        "model.dropout_rate=0.3",
    )
    job = job_lib.prepare(config)
    abstract = jax.eval_shape(
        lambda: state_lib.initialise(job.model, job.optimizer, seed=0)
    )
    state = initial.load(job.initial, abstract, job.optimizer)
    theirs = saved(pretrained, 4, make_config())
    found = canonical.to_canonical(state)
    expected = canonical.to_canonical(theirs)
    assert int(state.step) == 0
    jax.tree.map(np.testing.assert_array_equal, found["params"], expected["params"])
    if slots == "reset":
        fresh = jax.jit(job.optimizer.init)(theirs.params)
        fresh = state_lib.TrainState(theirs.step, theirs.params, fresh)
        expected = canonical.to_canonical(fresh)
    jax.tree.map(
        np.testing.assert_array_equal, found["optimizer"], expected["optimizer"]
    )


@pytest.mark.slow
def test_a_run_goes_on_from_another_and_says_so(pretrained, arguments, tmp_path):
    command = [
        *arguments(f"initial.run={pretrained}", "train_steps=4"),
        f"--workdir={tmp_path / 'run'}",
    ]
    assert main.main(command) == 0
    record = whole_runs.record(tmp_path / "run")
    assert record["initial"]["run"] == str(pretrained)
    assert record["initial"]["step"] == 8
    first = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0])
    scratch = json.loads((pretrained / "metrics.jsonl").read_text().splitlines()[0])
    assert first["step"] == scratch["step"] == 3
    assert first["train/loss"] < scratch["train/loss"] - 0.05


def test_paths_and_cadences_do_not_matter(pretrained, make_config, tmp_path):
    def identity(run):
        return job_lib.prepare(make_config(f"initial.run={run}")).identity

    moved = shutil.copytree(pretrained, tmp_path / "moved")
    record = whole_runs.record(moved)
    record["config"]["data"]["store"] = record["data"]["store"] = "/gone/store"
    record["config"]["log"]["every_steps"] = 1
    (moved / "run.json").write_text(json.dumps(record))
    assert identity(moved) == identity(pretrained)
    earlier_step = make_config(f"initial.run={moved}", "initial.step=4")
    assert job_lib.prepare(earlier_step).identity != identity(moved)


def test_a_checkpoint_knows_the_earlier_fingerprint(pretrained, make_config, tmp_path):
    job = job_lib.prepare(make_config(f"initial.run={pretrained}"))
    record = whole_runs.record(pretrained)
    contents = json.dumps(record["config"], sort_keys=True)
    contents += record["data"]["vocabulary_sha256"]
    earlier = hashlib.sha256(contents.encode()).hexdigest()[:16]
    for fingerprint, accepted in ((earlier, True), ("0" * 16, False)):
        manager = checkpoints.Checkpoints(tmp_path / fingerprint / "checkpoints")
        leaves = {"m": {"w": jax.numpy.zeros(2)}}
        manager.save(
            4,
            state_lib.TrainState(jax.numpy.int32(4), leaves, leaves),
            identity=job.identity | {"initial.fingerprint": fingerprint},
            progress={},
        )
        manager.close()
        refusal = pytest.raises(errors.RunError, match="initial.fingerprint is")
        with contextlib.nullcontext() if accepted else refusal:
            job_lib.check_workdir(job, tmp_path / fingerprint)


def refused(make_config, *overrides):
    with pytest.raises(errors.RunError) as caught:
        job_lib.prepare(make_config(*overrides))
    return str(caught.value)


def test_what_does_not_fit_is_refused_early(pretrained, make_config, tmp_path):
    run = f"initial.run={pretrained}"
    assert "is not a run directory" in refused(make_config, f"initial.run={tmp_path}")
    assert "no checkpoint of step 5; it has 4, 8" in refused(
        make_config, run, "initial.step=5"
    )
    assert "initial.step: requires config.initial.run" in refused(
        make_config, "initial.step=5"
    )
    assert "accepted: reset, keep" in refused(
        make_config, run, "initial.optimizer_slots=maybe"
    )
    message = refused(make_config, run, "model.d_ff=64")
    assert f"the params arrays of {pretrained} do not match" in message
    assert "(16, 64) here, (16, 32) there" in message
    message = refused(
        make_config, run, "optimizer.name=adamw", "initial.optimizer_slots=keep"
    )
    assert f"the optimizer arrays of {pretrained} do not match" in message


def test_another_vocabulary_is_refused(pretrained, make_config, tmp_path):
    other = tmp_path / "run"
    other.mkdir()
    record = whole_runs.record(pretrained)
    record["data"]["vocabulary_sha256"] = "0" * 64
    (other / "run.json").write_text(json.dumps(record))
    (other / "checkpoints").symlink_to(pretrained / "checkpoints")
    message = refused(make_config, f"initial.run={other}")
    assert "trained with another vocabulary (sha256 000000000000...)" in message
