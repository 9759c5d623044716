"""Whole runs in an object store: as on a disk, also after a crash."""

import json
import logging
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from clinometer.data import paths
from clinometer.tests import object_store
from clinometer.tests.train import whole_runs
from clinometer.tools import cli
from clinometer.train import job as job_lib
from clinometer.train import main
from clinometer.train.host import bookkeeping
from clinometer.train.run import directory as run_directory
from clinometer.train.run import lease
from clinometer.train.run import metrics_log

_STORE = "s3://bucket/stores/small"
_RUN = "gs://bucket/runs/a"

# Trains and kills itself after step 6.
_KILLED = """
import os, signal, sys
from clinometer.tests import object_store
object_store.register(os.environ[object_store.FOLDER])
from clinometer.train import main
from clinometer.train.host import bookkeeping
done = bookkeeping.Bookkeeping.step_done
def step_done(self, step, values, checkpoints):
    done(self, step, values, checkpoints)
    if step == 6:
        checkpoints.wait()
        os.kill(os.getpid(), signal.SIGKILL)
bookkeeping.Bookkeeping.step_done = step_done
main.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def finished(arguments, tmp_path_factory):
    """The run directory of an uninterrupted run on the disk; must not be modified."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    assert main.main([*arguments(), f"--workdir={workdir}"]) == 0
    return workdir


@pytest.fixture
def command(arguments, store, objects, tmp_path, monkeypatch):
    """The command line of the same run in an object store, with its token store."""
    monkeypatch.setenv("CLINOMETER_CACHE", str(tmp_path / "cache"))
    # A holder of the lease that died is known by its silence.
    monkeypatch.setitem(lease.Lease.__init__.__kwdefaults__, "timeout_seconds", 0.5)
    for name in paths.files_below(store):
        paths.upload(store / name, f"{_STORE}/{name}")
    return [*arguments(f"data.store={_STORE}"), f"--workdir={_RUN}"]


def assert_equals_run_on_disk(finished, make_config):
    """Asserts that the run in the store has the same log and state, bit for bit."""
    directory = run_directory.RunDirectory(_RUN)
    log = [metrics_log.without_wall(r) for r in directory.metrics.read()]
    assert log == whole_runs.records(finished)
    job = job_lib.prepare(make_config())
    own, other = (
        run.checkpoints(read_only=True).read(8, job.placement.state)
        for run in (directory, run_directory.RunDirectory(finished))
    )
    jax.tree.map(np.testing.assert_array_equal, own, other)
    assert directory.validation_rows().step == 8
    record = directory.record()
    assert record.finished and record.data.store == _STORE


def test_a_run_that_crashed_is_resumed_from_the_store(
    command, finished, make_config, objects, monkeypatch, caplog, capsys
):
    done = bookkeeping.Bookkeeping.step_done

    def crash(self, step, values, checkpoints):
        done(self, step, values, checkpoints)
        if step == 6:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power"):
        patch.setattr(bookkeeping.Bookkeeping, "step_done", crash)
        main.main(command)
    assert run_directory.RunDirectory(_RUN).record().status == "failed"
    assert main.main(command) == 0
    assert_equals_run_on_disk(finished, make_config)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    said = capsys.readouterr()
    assert f"results in {_RUN}" in said.out
    assert "reading the copy of s3://bucket/stores/small in /" in said.err
    assert main.main(command) == 0
    assert "finished earlier; nothing to do" in capsys.readouterr().out


def test_what_the_store_refuses_ends_the_run_with_a_sentence(
    command, monkeypatch, capsys
):
    def refuse(*unused, **more):
        raise PermissionError("403 Forbidden")

    monkeypatch.setattr(object_store.ObjectStore, "pipe_file", refuse)
    whole_runs.compile_nothing(monkeypatch)
    assert main.main(command) == 1
    assert f"error: {_RUN}/lease/1.json: 403 Forbidden" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_run_is_resumed_fine_tuned_evaluated_and_reported(
    command, finished, make_config, tmp_path, capsys
):
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, *command],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    directory = run_directory.RunDirectory(_RUN)
    assert directory.record().status == "running"
    tensorboard = "--config.log.trackers=tensorboard"
    profile = ("--config.profile.start_step=6", "--config.profile.num_steps=1")
    assert main.main([*command, tensorboard, *profile]) == 0
    assert_equals_run_on_disk(finished, make_config)
    assert paths.files_below(directory.tensorboard_path)
    assert paths.files_below(directory.profile_path)

    folder = tmp_path / "data" / "RTE"
    folder.mkdir(parents=True)
    for name, count in (("train", 8), ("dev", 4)):
        rows = [f"{i}\ta {i}.\tb {i}.\tentailment" for i in range(count)]
        text = "\n".join(["index\tsentence1\tsentence2\tlabel", *rows]) + "\n"
        (folder / f"{name}.tsv").write_text(text)
    small = (
        *("train_steps=2", "data.batch_size=4", "data.decoder_length=8"),
        *("eval.every_steps=2", "eval.batch_size=4", "log.trackers="),
    )
    options = (f"--from={_RUN}", "--mixture=rte", f"--data={folder.parent}")
    fields = [f"--config.{field}" for field in small]
    assert cli.main(["finetune", *options, *fields]) == 0
    tuned = f"{_RUN}/finetune/rte"
    assert f"summary written to {tuned}/summary.json" in capsys.readouterr().out
    assert run_directory.RunDirectory(tuned).record().downstream.tasks.keys() == {"rte"}

    assert cli.main(["evaluate", tuned, "--batch-size=4", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert scored["tasks"]["rte"]["examples"] == 4
    assert len(run_directory.RunDirectory(tuned).record().evaluations) == 1
    assert paths.files_below(f"{tuned}/evaluation-greedy-2") == ["rte.jsonl", "rte.npz"]

    assert cli.main(["report", "gs://bucket/runs"]) == 0
    assert paths.is_file("gs://bucket/runs/report.html")
    table = paths.read_bytes("gs://bucket/runs/runs.csv").decode().splitlines()
    assert len(table) == 2 and table[1].startswith("a,transformer-pico,")
    # It has read the losses of both.
    assert cli.main(["compare", _RUN, str(finished)]) == 1
    assert "the losses of all rows differ by the same amount" in capsys.readouterr().err
