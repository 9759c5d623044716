"""Tests that whole tiny runs resume exactly, even after files were lost."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from clinometer.data.pretraining import batches as batches_lib
from clinometer.tests.train import whole_runs
from clinometer.train import main
from clinometer.train import validation as evaluate
from clinometer.train.run import metrics_log

_LONG = ("train_steps=40", "checkpoint.every_steps=5", "eval.every_steps=10")


@pytest.fixture(scope="module")
def finished(arguments, tmp_path_factory):
    """The run directory of a run of 8 steps; must not be modified."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    assert main.main([*arguments(), f"--workdir={workdir}"]) == 0
    return workdir


@pytest.fixture(scope="module")
def finished_long(arguments, tmp_path_factory):
    """The run directory of an uninterrupted run of 40 steps; must not be modified."""
    workdir = tmp_path_factory.mktemp("long") / "run"
    assert main.main([*arguments(*_LONG), f"--workdir={workdir}"]) == 0
    return workdir


def test_a_finished_run_stays_as_it_is(
    finished, arguments, tmp_path, capsys, monkeypatch
):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    before = (workdir / "run.json").read_bytes()
    whole_runs.compile_nothing(monkeypatch)
    assert main.main([*arguments(), f"--workdir={workdir}"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(
        "transformer-pico finished earlier; nothing to do: validation loss "
    )
    assert said.out.endswith(f" nats per token; results in {workdir}\n")
    assert said.err == ""
    assert (workdir / "run.json").read_bytes() == before
    assert (workdir / "metrics.jsonl").read_bytes() == (
        finished / "metrics.jsonl"
    ).read_bytes()
    again, before = whole_runs.record(workdir), whole_runs.record(finished)
    assert again["status"] == "finished"
    assert again["metrics"] == before["metrics"]
    assert again["speed"] == before["speed"]


@pytest.mark.parametrize("text", [None, b"", b"{}", b"[]", b"\xff\x00", b'{"model'])
def test_a_lost_run_json_is_made_anew(
    finished, arguments, tmp_path, monkeypatch, caplog, text
):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    if text is None:
        (workdir / "run.json").unlink()
    else:
        (workdir / "run.json").write_bytes(text)
    whole_runs.compile_nothing(monkeypatch)
    assert main.main([*arguments(), f"--workdir={workdir}"]) == 0
    made, before = whole_runs.record(workdir), whole_runs.record(finished)
    clocks = {"updated_at", "wall_seconds", "git_dirty", "git_revision"}
    for field in before.keys() - clocks:
        assert made[field] == before[field], field
    assert f"{workdir / 'run.json'}" in caplog.text
    if text is not None:
        assert (workdir / "run.json.corrupt").read_bytes() == text


@pytest.mark.slow
def test_the_best_checkpoint_outlives_a_lost_run_json(arguments, tmp_path, monkeypatch):
    """The first checkpoint is the best; with the newest two, three are kept."""
    losses, measure = itertools.count(1), evaluate.evaluate

    def rising(*given):
        _, rows = measure(*given)
        return {"validation/loss": float(next(losses))}, rows

    monkeypatch.setattr(evaluate, "evaluate", rising)
    workdir = tmp_path / "run"
    often = ("checkpoint.every_steps=2", "eval.every_steps=2")
    assert main.main([*arguments(*often), f"--workdir={workdir}"]) == 0
    (workdir / "run.json").write_text("{}")
    longer = arguments(*often, "train_steps=10")
    assert main.main([*longer, f"--workdir={workdir}"]) == 0
    kept = {path.name for path in (workdir / "checkpoints").iterdir()}
    assert kept == {"2", "8", "10"}


def test_what_was_measured_comes_back_from_the_checkpoint(
    finished, arguments, tmp_path, caplog
):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    lines = (workdir / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (workdir / "metrics.jsonl").write_bytes(b"".join(lines[:-1]))
    assert main.main([*arguments(), f"--workdir={workdir}"]) == 0
    assert whole_runs.records(workdir) == whole_runs.records(finished)
    assert "evaluation at step 8 is restored from the checkpoint" in caplog.text


def test_other_settings_of_jax_are_refused_by_name(
    finished, arguments, tmp_path, capsys
):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    command = [*arguments(), f"--workdir={workdir}"]
    for name, value in {
        "jax_enable_x64": True,
        "jax_default_prng_impl": "rbg",
        "jax_threefry_partitionable": not jax.config.values[
            "jax_threefry_partitionable"
        ],
        "jax_default_matmul_precision": "bfloat16",
        "jax_random_seed_offset": 1,
        "jax_softmax_custom_jvp": not jax.config.values["jax_softmax_custom_jvp"],
    }.items():
        before = jax.config.values[name]
        jax.config.update(name, value)
        try:
            assert main.main(command) == 1
        finally:
            jax.config.update(name, before)
        error = capsys.readouterr().err
        assert f"numerics.{name} is {value!r} here, {before!r} there" in error
    recorded = whole_runs.record(finished)["numerics"]
    assert recorded["jax_enable_x64"] is False
    assert recorded["jax_default_prng_impl"] == "threefry2x32"


@pytest.mark.slow
def test_a_checkpoint_without_settings_of_jax_goes_on(finished, arguments, tmp_path):
    """Uses a checkpoint as saved by earlier versions, also without a digest."""
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    path = workdir / "checkpoints/8/meta/metadata"
    meta = json.loads(path.read_text())
    del meta["digest"], meta["metrics"]
    identity = meta["identity"]
    meta["identity"] = {k: v for k, v in identity.items() if "numerics" not in k}
    assert len(meta["identity"]) < len(identity)
    path.write_text(json.dumps(meta))
    assert main.main([*arguments(), f"--workdir={workdir}"]) == 0


def test_sigterm_saves_and_the_run_goes_on(
    finished, arguments, make_config, tmp_path, monkeypatch
):
    workdir = tmp_path / "run"
    command = [*arguments("checkpoint.every_steps=100"), f"--workdir={workdir}"]
    write = metrics_log.MetricsLog.write

    def write_and_stop(self, step, values):
        write(self, step, values)
        if "validation/loss" in values and step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(metrics_log.MetricsLog, "write", write_and_stop)
        assert main.main(command) == 42
    assert whole_runs.record(workdir)["status"] == "stopped"
    saved = [p.name for p in (workdir / "checkpoints").iterdir()]
    assert saved == ["4"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert main.main(command) == 0
    whole_runs.assert_same(workdir, finished, make_config())


def test_a_corrupt_checkpoint_falls_back(
    finished, arguments, make_config, tmp_path, caplog
):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    for path in (workdir / "checkpoints" / "8" / "state").rglob("d/*"):
        os.truncate(path, path.stat().st_size // 2)
    assert main.main([*arguments(), f"--workdir={workdir}"]) == 0
    assert "8 is corrupt" in caplog.text
    assert (workdir / "checkpoints" / "8.corrupt").is_dir()
    whole_runs.assert_same(workdir, finished, make_config())


def test_a_resume_that_skips_a_batch_is_seen(
    finished, arguments, tmp_path, monkeypatch
):
    """Shows that the tests above can fail."""
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    shutil.rmtree(workdir / "checkpoints" / "8")
    iterate = batches_lib.PretrainBatches.iterate
    monkeypatch.setattr(
        batches_lib.PretrainBatches,
        "iterate",
        lambda self, start, rows: iterate(self, start + 1, rows),
    )
    assert main.main([*arguments(), f"--workdir={workdir}"]) == 0
    assert whole_runs.records(workdir)[:3] == whole_runs.records(finished)[:3]
    assert whole_runs.records(workdir)[3:] != whole_runs.records(finished)[3:]


def _killed(command, workdir, num_records, delay=0.0):
    """Starts the command and kills it after some records; returns whether in time."""
    process = subprocess.Popen(
        [sys.executable, "-m", "clinometer.train.main", *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
    )
    path = workdir / "metrics.jsonl"
    while process.poll() is None:
        if path.exists() and len(path.read_bytes().splitlines()) >= num_records:
            time.sleep(delay)
            process.kill()
            break
        time.sleep(0.002)
    return process.wait() == -signal.SIGKILL


def test_sigkill_then_the_same_run(finished_long, arguments, make_config, tmp_path):
    workdir = tmp_path / "run"
    command = [*arguments(*_LONG), f"--workdir={workdir}"]
    assert _killed(command, workdir, num_records=12)
    assert whole_runs.record(workdir)["status"] == "running"
    assert main.main(command) == 0
    whole_runs.assert_same(workdir, finished_long, make_config(*_LONG))


@pytest.mark.slow
def test_sigkill_at_random_moments(finished_long, arguments, make_config, tmp_path):
    """Kills one run ten times, also during saves, since it saves after every step."""
    workdir = tmp_path / "run"
    overrides = (*_LONG, "checkpoint.every_steps=1", "checkpoint.keep_last=1")
    command = [*arguments(*overrides), f"--workdir={workdir}"]
    rng = np.random.default_rng(0)
    for kill in range(10):
        records = 1 + 3 * kill // 2
        assert _killed(command, workdir, records, delay=rng.uniform(0, 0.3)), kill
    assert main.main(command) == 0
    whole_runs.assert_same(workdir, finished_long, make_config(*overrides))
