"""Tests of whole tiny runs: their files, their output, and errors that stop them."""

import contextlib
import io
import json
import os
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.kernels import python_child
from clinometer.tests.train import whole_runs
from clinometer.train import main
from clinometer.train import validation as evaluate
from clinometer.train.host import pauses
from clinometer.train.run import checkpoints
from clinometer.train.run import directory
from clinometer.train.run import metrics_log
from clinometer.train.run import record
from clinometer.train.run import validation_rows


@pytest.fixture(scope="module")
def said():
    """Standard output and error of the run `finished`."""
    return {}


@pytest.fixture(scope="module")
def finished(arguments, tmp_path_factory, said):
    """The run directory of a run of 8 steps; must not be modified."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main.main([*arguments(), f"--workdir={workdir}"]) == 0
    said["finished"] = out.getvalue(), err.getvalue()
    return workdir


def test_run_json(finished, store):
    record = whole_runs.record(finished)
    assert record["status"] == "finished"
    assert record["error"] is None
    assert record["model"] == "transformer-pico"
    assert record["config"]["data"]["store"] == str(store)
    manifest = json.loads((store / "manifest.json").read_text())
    # 200 ids, rounded up to a multiple of 128.
    assert record["config"]["model"]["vocab_size"] == 256
    # Parameters: V d + E (4da + 2df + 2d) + D (8da + 2df + 3d) + 2d + 2 x 32 H.
    layers = (4 * 16 * 32 + 1024 + 32) + (8 * 16 * 32 + 1024 + 48)
    assert record["counts"]["params_total"] == 256 * 16 + layers + 32 + 128
    # noise = round(0.15 n), spans = round(noise / 3).
    lengths = (record["counts"]["encoder_length"], record["counts"]["decoder_length"])
    raw = record["data"]["tokens_seen"] // (8 * 4)
    noise = round(0.15 * raw)
    spans = round(noise / 3)
    assert lengths == (raw - noise + spans + 1, noise + spans + 1)
    rows = manifest["splits"]["train"]["tokens"] // raw
    assert record["data"]["epochs"] == pytest.approx(8 * 4 / rows)
    assert record["data"]["corpus_hash"] == manifest["corpus_hash"]
    wall = dict(record["wall_seconds"])
    total = wall.pop("total")
    assert sum(wall.values()) == pytest.approx(total)
    # One step is one window here; the first two are dropped.
    assert record["speed"]["window_steps"] == 1
    assert record["speed"]["num_windows"] == 6
    measured = record["speed"]["measured_matmul_flops_per_second"]
    rate = record["counts"]["flops_train_step"] / measured
    assert record["speed"]["fraction_of_measured_matmul"] == pytest.approx(
        rate * record["speed"]["steps_per_second_median"]
    )
    assert record["speed"]["mfu"] is None
    assert record["wall_seconds"]["calibration"] > 0
    assert record["flags"]["XLA_FLAGS"] == os.environ["XLA_FLAGS"]
    assert record["metrics"]["step"] == 8
    assert record["metrics"]["validation/neg_log_perplexity"] == pytest.approx(
        -record["metrics"]["validation/loss"]
    )
    assert record["versions"]["jax"] == jax.__version__


@pytest.mark.slow
def test_all_devices_train(arguments, tmp_path):
    subprocess.run(
        [
            *python_child.module("clinometer.train.main"),
            *arguments(
                "log.peak_flops_per_second=1e12", "train_steps=4", "data.batch_size=8"
            ),
            f"--workdir={tmp_path}",
        ],
        env=python_child.environment(os.environ)
        | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"},
        check=True,
    )
    record = whole_runs.record(tmp_path)
    assert (record["device"]["count"], record["device"]["training"]) == (8, 8)
    speed = record["speed"]
    assert speed["peak_flops_per_second"] == 8e12
    flops = record["counts"]["flops_train_step"]
    expected = flops * speed["steps_per_second_median"] / 8e12
    assert speed["mfu"] == pytest.approx(expected)


def test_metrics_log(finished):
    records = whole_runs.records(finished)
    kinds = [
        (
            r["step"],
            "train/loss" in r,
            "validation/loss" in r,
            any("health/" in k for k in r),
        )
        for r in records
    ]
    assert kinds == [
        (3, True, False, False),
        (4, False, False, True),
        (4, False, True, False),
        (6, True, False, False),
        (8, True, False, True),
        (8, False, True, False),
    ]


def test_validation_loss_is_that_of_the_whole_set(finished, make_config):
    """Recomputes it from the saved parameters in float64 NumPy."""
    job, state = whole_runs.saved_state(finished, make_config())
    loss, tokens = 0.0, 0
    for batch in job.source.eval_batches:
        logits = job.model.apply(
            state.params,
            jnp.asarray(batch["encoder_input_tokens"]),
            jnp.asarray(batch["decoder_input_tokens"]),
        )
        logits = np.asarray(logits, np.float64)
        targets = batch["decoder_target_tokens"]
        log_z = np.log(np.exp(logits).sum(-1))
        picked = np.take_along_axis(logits, targets[..., None], -1)[..., 0]
        loss += ((log_z - picked) * (targets > 0)).sum()
        tokens += (targets > 0).sum()
    metrics = whole_runs.record(finished)["metrics"]
    assert metrics["validation/tokens"] == tokens
    assert metrics["validation/loss"] == pytest.approx(loss / tokens, rel=1e-5)


def test_evaluation_weighs_tokens_not_batches():
    # The last row is padding.
    batches = [{"n": np.float32([1, 4])}, {"n": np.float32([3, 0])}]

    def eval_step(params, batch):
        n = batch["n"]
        return models.Loss(n * n, 0 * n, n, n / 2)

    metrics, rows = evaluate.evaluate(eval_step, None, batches, step=7)
    assert metrics["validation/loss"] == (1 + 16 + 9) / (1 + 4 + 3)
    assert metrics["validation/accuracy"] == 0.5
    assert rows.step == 7 and len(set(rows.digests)) == 3
    np.testing.assert_array_equal(rows.losses, [1, 16, 9])
    np.testing.assert_array_equal(rows.targets, [1, 4, 3])


def test_the_losses_of_rows_are_kept(finished, make_config):
    """Their weighted mean is the recorded loss, and their digests those of the set."""
    rows = directory.RunDirectory(finished).validation_rows()
    metrics = whole_runs.record(finished)["metrics"]
    assert rows.step == 8
    assert rows.targets.sum() == metrics["validation/tokens"]
    assert metrics["validation/loss"] == pytest.approx(
        rows.losses.sum() / rows.targets.sum()
    )
    job, state = whole_runs.saved_state(finished, make_config())
    batch = next(iter(job.source.eval_batches))
    alone = {name: array[1:2] for name, array in batch.items()}
    sums = job.model.loss(state.params, alone).sums
    assert rows.losses[1] == pytest.approx(float(sums.loss_sum), rel=1e-5)
    assert rows.digests[1] == validation_rows.digests(alone)[0]


def test_a_disk_that_the_kept_ones_will_fill_is_refused(
    arguments, tmp_path, capsys, monkeypatch
):
    whole_runs.compile_nothing(monkeypatch)
    workdir = tmp_path / "run"
    usage = shutil._ntuple_diskusage(10**9, 0, 10 * 160_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    keep = ("checkpoint.every_steps=1", "checkpoint.keep_every_steps=1")
    command = [*arguments("train_steps=100", *keep), f"--workdir={workdir}"]
    assert main.main(command) == 1
    error = capsys.readouterr().err
    # 12,528 float32 parameters and as many second moments of Adafactor, 103 times.
    # The message rounds to whole MB.
    assert "keep fewer (--config.checkpoint.keep_every_steps)" in error
    megabytes = float(error.partition("need ")[2].partition(" MB")[0])
    assert megabytes == pytest.approx(103 * 2 * 4 * 12_528 / 1e6, rel=0.05)
    assert not workdir.exists()


def test_it_says_what_it_does_and_where_it_ends(finished, said):
    out, err = said["finished"]
    assert err.splitlines()[0] == (
        "transformer-pico compiling the train and evaluation steps for 12,528 "
        f"parameters; results in {finished}"
    )
    loss = whole_runs.record(finished)["metrics"]["validation/loss"]
    assert out == (
        f"transformer-pico finished at step 8: validation loss {loss:.4f} nats per "
        f"token; results in {finished}\n"
    )


def test_a_validation_that_is_not_finite_stops_the_run(
    finished, arguments, tmp_path, capsys, monkeypatch
):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    shutil.rmtree(workdir / "checkpoints" / "8")
    nan = {"validation/loss": float("nan")}, None
    monkeypatch.setattr(evaluate, "evaluate", lambda *unused: nan)
    assert main.main([*arguments(), f"--workdir={workdir}"]) == 1
    error = capsys.readouterr().err
    assert "step 8: the validation loss is nan. Last good checkpoint: 4" in error
    assert whole_runs.record(workdir)["status"] == "failed"
    assert record.read(workdir).diverged


def test_a_pause_is_told_and_marked(finished, arguments, tmp_path, capsys, monkeypatch):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    shutil.rmtree(workdir / "checkpoints" / "8")
    stopped = []
    write = metrics_log.MetricsLog.write

    def write_and_stop(self, step, values):
        write(self, step, values)
        if step == 6:
            stopped.append(step)

    def look(self):
        if stopped:
            self.count, self.seconds = (
                1,
                0.001,
            )  # A short pause, since the test is short.

    monkeypatch.setattr(metrics_log.MetricsLog, "write", write_and_stop)
    monkeypatch.setattr(pauses.PauseWatch, "look", look)
    assert main.main([*arguments(), f"--workdir={workdir}"]) == 0
    told = [x for x in capsys.readouterr().err.splitlines() if "was paused" in x]
    assert len(told) == 1
    assert told[0].startswith("transformer-pico was paused before step 7 (SIGSTOP")
    record = whole_runs.record(workdir)
    assert record["speed"]["paused_windows"] == 1
    assert 0 < record["wall_seconds"]["paused"] <= 0.001


def test_a_run_that_was_taken_over_writes_nothing_more(
    arguments, tmp_path, capsys, monkeypatch
):
    """As if this process had been stopped for long after a line of the log."""
    workdir = tmp_path / "run"
    write = metrics_log.MetricsLog.write
    after = {}

    def write_and_lose(self, step, values):
        write(self, step, values)
        if step == 5:
            (workdir / "lease" / "2.json").write_text('{"owner": "x", "pid": 7}')
            after.update(_contents(workdir))

    monkeypatch.setattr(metrics_log.MetricsLog, "write", write_and_lose)
    often = ("log.every_steps=1", "train_steps=6", "checkpoint.every_steps=6")
    assert main.main([*arguments(*often), f"--workdir={workdir}"]) == 43
    assert f"{workdir} was taken over by process 7" in capsys.readouterr().err
    assert _contents(workdir) == after
    assert whole_runs.record(workdir)["metrics"]["step"] == 4
    assert list((workdir / "checkpoints").iterdir()) == []


def _contents(workdir):
    """Returns the content of each file, by path."""
    files = (path for path in workdir.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "lease", "checkpoints"])
def test_what_is_no_file_or_no_folder_is_named(
    finished, arguments, tmp_path, capsys, monkeypatch, name
):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    if name in ("checkpoints", "lease"):
        shutil.rmtree(workdir / name)
        (workdir / name).write_text("")
    else:
        (workdir / name).unlink()
        (workdir / name).mkdir()
    whole_runs.compile_nothing(monkeypatch)
    assert main.main([*arguments(), f"--workdir={workdir}"]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert f"clinometer train: error: {workdir / name}: " in error


def test_nan_stops_the_run(finished, arguments, tmp_path, capsys, monkeypatch):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    shutil.rmtree(workdir / "checkpoints" / "8")
    restore = checkpoints.Checkpoints.restore

    def poisoned(*arguments):
        state, progress = restore(*arguments)
        state.params["decoder/final_norm"]["scale"] *= np.nan
        return state, progress

    monkeypatch.setattr(checkpoints.Checkpoints, "restore", poisoned)
    command = [*arguments("checkpoint.every_steps=1"), f"--workdir={workdir}"]
    assert main.main(command) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "step 5: the loss is nan; batch index 4" in error
    assert "good checkpoint: 4;" in error
    record = whole_runs.record(workdir)
    assert record["status"] == "failed"
    assert "the loss is nan" in record["error"]
    assert [p.name for p in (workdir / "checkpoints").iterdir()] == ["4"]
