"""Branches: equal to the continuation of their trunk, and to a run from the start."""

import dataclasses
import logging
import shutil

import jax
import numpy as np
import pytest

from clinometer.tests.train import whole_runs
from clinometer.tools.report import conditions
from clinometer.train import errors
from clinometer.train import initial
from clinometer.train import job as job_lib
from clinometer.train import main
from clinometer.train.memory import microbatch
from clinometer.train.run import checkpoints
from clinometer.train.run import directory as run_directory
from clinometer.train.run import record as run_record

# Two steps of warmup, then a constant rate. Adam's moments and dropout depend on the
# step, and so do the rows of a batch.
_TRUNK = (
    "schedule.name=wsd",
    "schedule.learning_rate=0.01",
    "schedule.warmup_fraction=0.25",
    "schedule.decay_fraction=0",
    "optimizer.name=adamw",
    "model.dropout_rate=0.1",
    "checkpoint.keep_every_steps=4",
    "log.trackers=",
    "log.every_steps=2",
)
# The same rates before step 4, then decay from step 4 to 6.
_COOLDOWN = (
    "train_steps=6",
    f"schedule.warmup_fraction={2 / 6}",
    f"schedule.decay_fraction={2 / 6}",
)


@pytest.fixture(scope="module")
def trunk(arguments, tmp_path_factory):
    """A run of 8 steps with checkpoints at 4 and 8; must not be modified."""
    workdir = tmp_path_factory.mktemp("trunk") / "run"
    assert main.main([*arguments(*_TRUNK), f"--workdir={workdir}"]) == 0
    return workdir


def state_of(workdir, step, job):
    reader = run_directory.RunDirectory(workdir).checkpoints(read_only=True)
    return jax.device_get(reader.read(step, job.placement.state))


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def branched(trunk, *overrides, step=4):
    own = (f"initial.run={trunk}", f"initial.step={step}", "initial.branch=true")
    return (*_TRUNK, *own, "initial.optimizer_slots=keep", *overrides)


def test_a_branch_equals_the_continuation_of_its_trunk(
    trunk, arguments, make_config, tmp_path, caplog
):
    command = [*arguments(*_TRUNK), f"--from={trunk}@4", "--branch"]
    branch = tmp_path / "branch"
    with caplog.at_level(logging.WARNING):
        assert main.main([*command, f"--workdir={branch}"]) == 0
    assert caplog.text == ""
    job = job_lib.prepare(make_config(*branched(trunk)))
    state = state_of(branch, 8, job)
    assert_equal(state, state_of(trunk, 8, job))
    with pytest.raises(AssertionError):
        assert_equal(state, state_of(trunk, 4, job))
    # The records too, but for the spikes, which are found among the logged losses.
    later = [r for r in whole_runs.records(trunk) if r["step"] > 4]
    assert whole_runs.records(branch) == later
    record = run_directory.RunDirectory(branch).record()
    assert record.initial == run_record.Initial(
        run=str(trunk), step=4, optimizer_slots="keep", branch=True, same_rates=True
    )
    # It counts as trained from the start, in its own time.
    assert record.data == run_directory.RunDirectory(trunk).record().data
    assert conditions.columns(record)["initial"] == "random"
    assert record.metrics.step == 8
    # It can be resumed from its own checkpoint or, without one, from the trunk.
    assert main.main([*command, f"--workdir={branch}"]) == 0
    shutil.rmtree(branch / "checkpoints")
    assert main.main([*command, f"--workdir={branch}"]) == 0
    assert_equal(state, state_of(branch, 8, job))
    assert whole_runs.records(branch) == later


def test_a_branch_keeps_the_microbatches_of_its_trunk(
    trunk, make_config, monkeypatch, tmp_path
):
    """If they are left open: a fixed number must be the trunk's."""
    saved = checkpoints.Checkpoints.saved_identity
    monkeypatch.setattr(
        checkpoints.Checkpoints,
        "saved_identity",
        lambda self, step: saved(self, step) | {"num_microbatches": 2},
    )
    job = job_lib.prepare(make_config(*branched(trunk, "microbatch=auto")))
    assert job.config.num_microbatches == job.identity["num_microbatches"] == 2
    said = []
    directory = run_directory.RunDirectory(tmp_path)
    assert microbatch.settle(job, directory, None, said.append) == (job, None)
    assert said == [f"num_microbatches 2, as in {trunk}"]
    with pytest.raises(errors.ConfigError, match="num_microbatches is 1 here, 2 there"):
        job_lib.prepare(make_config(*branched(trunk)))


@pytest.mark.slow
def test_a_cooldown_equals_a_run_with_its_schedule(
    trunk, arguments, make_config, tmp_path
):
    branch, whole = tmp_path / "branch", tmp_path / "whole"
    fields = (*_TRUNK, *_COOLDOWN)
    start = (f"--from={trunk}@4", "--branch")
    assert main.main([*arguments(*fields), *start, f"--workdir={branch}"]) == 0
    assert main.main([*arguments(*fields), f"--workdir={whole}"]) == 0
    job = job_lib.prepare(make_config(*branched(trunk, *_COOLDOWN)))
    assert_equal(state_of(branch, 6, job), state_of(whole, 6, job))
    # At the last step the rate is half of the peak: it is 0 at step 6.
    (rate,) = (
        record["train/learning_rate"]
        for record in whole_runs.records(branch)
        if "train/learning_rate" in record
    )
    np.testing.assert_allclose(rate, 0.005, rtol=1e-6)  # float32
    own, other = (run_directory.RunDirectory(run).record() for run in (branch, whole))
    assert conditions.columns(own) == conditions.columns(other)
    assert own.data.tokens_seen == other.data.tokens_seen


def test_a_cooldown_has_the_rates_of_its_trunk(trunk, make_config, caplog):
    job = job_lib.prepare(make_config(*branched(trunk, *_COOLDOWN)))
    assert job.initial.same_rates and caplog.text == ""
    rates = [float(job.schedule(step)) for step in range(7)]
    expected = [0.005, 0.01, 0.01, 0.01, 0.01, 0.005, 0.0]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)  # float32
    other = make_config(*branched(trunk, *_COOLDOWN, "schedule.warmup_fraction=0.5"))
    job = job_lib.prepare(other)
    assert not job.initial.same_rates
    assert f"differs from that of {trunk} at step 4 from step 0 on" in caplog.text
    described = job.initial.describe()
    record = run_directory.RunDirectory(trunk).record()
    record = dataclasses.replace(record, initial=described)
    assert conditions.columns(record)["initial"] == (
        f"{trunk} at step 4, optimizer keep, branch"
    )


def test_a_branch_of_a_branch_starts_where_the_first_one_did(trunk, make_config):
    found = job_lib.prepare(make_config(*branched(trunk))).initial
    before = run_record.Initial(run="old", step=3, optimizer_slots="reset")
    record = dataclasses.replace(found.trunk.record, initial=before)
    second = dataclasses.replace(found, trunk=initial.Trunk(record, {})).describe()
    assert second.before == before
    assert run_record.Initial.from_json(second.to_json()) == second
    record = dataclasses.replace(record, initial=second)
    column = conditions.columns(record)["initial"]
    assert column == "old at step 3, optimizer reset"


def refused(make_config, *overrides):
    with pytest.raises(errors.ConfigError) as caught:
        job_lib.prepare(make_config(*overrides))
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "there"),
    [
        ("data.order", "7", "0"),
        ("data.batch_size", "8", "4"),
        ("data.encoder_length", "64", "32"),
        ("data.noise_density", "0.3", "0.15"),
        ("seed", "3", "0"),
        ("optimizer.b1", "0.8", "0.9"),
        ("model.dropout_rate", "0.2", "0.1"),
        ("z_loss", "0.01", "0.0001"),
    ],
)
def test_what_a_branch_must_share_is_named(trunk, make_config, field, value, there):
    message = refused(make_config, *branched(trunk, f"{field}={value}"))
    assert f"initial.branch: {trunk} at step 4 was trained with other" in message
    assert f"{field} is {value} here, {there} there" in message
    assert "may change the schedule, train_steps" in message


def test_what_is_no_branch_is_refused(trunk, make_config):
    assert "train_steps: 4 is not more than the step of" in refused(
        make_config, *branched(trunk, "train_steps=4")
    )
    assert "optimizer_slots: 'reset'; accepted with config.initial.branch" in refused(
        make_config, *branched(trunk, "initial.optimizer_slots=reset")
    )
    assert "initial.branch: requires config.initial.run" in refused(
        make_config, "initial.branch=true"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--branch"], "--branch: requires --from"),
        (["--from=runs/a@b"], "accepted: RUN or RUN@STEP"),
        (["--from=@4"], "accepted: RUN or RUN@STEP"),
        (["--from="], "got '', accepted: a path"),
        (["--from=a@4", "--config.initial.step=5"], "with --config.initial.step"),
        (["--from={folder}@4"], "is not a run directory"),
    ],
)
def test_a_wrong_start_is_refused(arguments, tmp_path, capsys, options, said):
    given = [option.format(folder=tmp_path) for option in options]
    try:
        code = main.main([*arguments(), *given, f"--workdir={tmp_path / 'run'}"])
    except SystemExit as error:  # From argparse.
        code = error.code
    assert code != 0
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_from_alone_takes_the_parameters(trunk, arguments, tmp_path):
    command = [*arguments(*_TRUNK, "train_steps=2"), f"--from={trunk}@4"]
    assert main.main([*command, f"--workdir={tmp_path / 'run'}"]) == 0
    record = run_directory.RunDirectory(tmp_path / "run").record()
    assert record.initial == run_record.Initial(
        run=str(trunk), step=4, optimizer_slots="reset"
    )
    assert record.metrics.step == 2
