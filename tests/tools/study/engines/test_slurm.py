"""Tests jobs of a real Slurm with one node: arrays, time-outs, cancelling, gangs."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from clinometer.tests.tools.study.engines import slurm_nodes
from clinometer.tests.tools.study.engines import trainer_stand_in
from clinometer.tools.study import executor
from clinometer.tools.study.engines import policy
from clinometer.tools.study.engines import settings
from clinometer.tools.study.engines import slurm
from clinometer.tools.study.engines import tries
from clinometer.train import errors

_REASON = slurm_nodes.missing()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(_REASON is not None, reason=str(_REASON)),
]


@pytest.fixture(scope="module")
def cluster():
    """Runs Slurm while the tests of this module run."""
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        slurm_nodes.running(pathlib.Path(folder)) as configuration,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SLURM_CONF", str(configuration))
        yield


def _executor(out, **changes):
    given = settings.EngineSettings(name="slurm", **changes)
    return slurm.SlurmExecutor(given, out)


def _task(out, name, *arguments, submission="s"):
    folder = out / "runs" / name
    folder.mkdir(parents=True)
    given = (trainer_stand_in.__file__, str(folder), *map(str, arguments))
    return executor.Task(name, folder, given, submission)


def _wait(condition, seconds=120):
    end = time.monotonic() + seconds
    while (value := condition()) is None or value is False:
        assert time.monotonic() < end
        time.sleep(0.1)
    return value


def _code(engine, handle):
    return _wait(lambda: engine.poll(handle))


def _trains(handle, times=1):
    """Returns whether a run trains, after it was started a number of times."""
    log = handle.task.log
    return log.is_file() and log.read_text().count("begins") == times


def _begins(handle, times):
    """Returns whether a run has begun; Slurm would wait two minutes before the next."""
    if _trains(handle, times):
        return True
    job = handle.job.job_id
    reason = subprocess.run(
        ["squeue", "--noheader", "--format=%r", f"--jobs={job}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if reason.stdout.strip() == "BeginTime":
        command = ["scontrol", "update", f"JobId={job}", "StartTime=now"]
        subprocess.run(command, check=True)
    time.sleep(0.5)
    return False


def _times_out(handle):
    """Sends what Slurm sends when the time of a job is almost over."""
    subprocess.run(["scancel", "--signal=USR2", handle.job.job_id], check=True)


def test_runs_are_one_array_and_say_where_they_ran(cluster, tmp_path):
    engine = _executor(tmp_path)
    tasks = [_task(tmp_path, name, 5) for name in "abc"]
    handles = engine.submit(tasks)
    assert [_code(engine, handle) for handle in handles] == [0, 0, 0]
    jobs = [tries.read(task.folder)[0].job for task in tasks]
    array = jobs[0].split("_")[0]
    assert jobs == [f"{array}_{index}" for index in range(3)]
    for task in tasks:
        (only,) = tries.read(task.folder)
        assert (only.engine, only.code) == ("slurm", 0)
        assert only.pid != os.getpid()
        assert task.log.read_text() == "begins at 0\n"


def test_a_run_goes_on_after_five_time_outs(cluster, tmp_path):
    engine = _executor(tmp_path)
    (handle,) = engine.submit([_task(tmp_path, "a", 600)])
    for times in range(1, 6):
        _wait(lambda times=times: _begins(handle, times))
        time.sleep(0.2)  # Some steps.
        _times_out(handle)
        _wait(lambda times=times: handle.task.log.read_text().count("saves") == times)
        assert engine.poll(handle) is None
    _wait(lambda: _begins(handle, 6))
    assert _code(engine, handle) == 0
    made = tries.read(handle.task.folder)
    assert [one.code for one in made] == [42] * 5 + [0]
    steps = [one.step for one in made]
    assert steps == sorted(set(steps)) and steps[0] == 0
    assert len({one.job for one in made}) == 1  # The same job, six times.


def test_a_run_without_progress_is_not_queued_again_a_third_time(cluster, tmp_path):
    engine = _executor(tmp_path)
    (handle,) = engine.submit([_task(tmp_path, "a", -1)])
    for times in range(1, 4):
        _wait(lambda times=times: _begins(handle, times))
        _times_out(handle)
    assert _code(engine, handle) == policy.WORKER_LOST
    done = tries.without_progress(handle.task.folder, "s")
    assert policy.after(policy.WORKER_LOST, done) is policy.Next.FAIL


def test_cancelling_saves_what_runs_and_takes_back_what_waits(cluster, tmp_path):
    engine = _executor(tmp_path)
    handles = engine.submit([_task(tmp_path, name, 10_000) for name in "abc"])
    running = handles[:2]  # The node has two cores.
    _wait(lambda: all(map(_trains, running)))
    for handle in handles:
        engine.cancel(handle)
    assert [_code(engine, handle) for handle in handles] == [42] * 3
    for handle in running:
        assert "saves at" in handle.task.log.read_text()
        assert not (handle.task.folder / "stop").exists()
    assert not handles[2].task.log.exists()


def test_signals_of_slurm_reach_the_run_and_a_kill_is_a_lost_worker(cluster, tmp_path):
    engine = _executor(tmp_path)
    handles = engine.submit([_task(tmp_path, name, 10_000) for name in "ab"])
    _wait(lambda: all(map(_trains, handles)))
    subprocess.run(["scancel", "--signal=TERM", handles[0].job.job_id], check=True)
    assert _code(engine, handles[0]) == 42
    assert "saves at" in handles[0].task.log.read_text()
    os.kill(tries.read(handles[1].task.folder)[0].pid, signal.SIGKILL)
    assert _code(engine, handles[1]) == policy.WORKER_LOST
    # The run itself was asked to save when its worker ended.
    _wait(lambda: "saves at" in handles[1].task.log.read_text())


def test_what_slurm_refuses_is_said(cluster, tmp_path):
    with pytest.raises(errors.ConfigError, match="nowhere|invalid partition"):
        _executor(tmp_path, slurm_partition="nowhere")
    with pytest.raises(errors.ConfigError, match="Slurm refuses the jobs"):
        _executor(tmp_path, cpus=4096)
    assert not (tmp_path / "slurm").exists()


def test_a_study_whose_run_spans_two_processes(cluster, tmp_path):
    out = tmp_path / "study"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "clinometer.tools.cli", "study", "--sizes=pico"),
            *("--seeds=0", "--steps=30", "--learning-rate=0.006", "--downstream="),
            *("--config.protocol.encoder_length=32", f"--out={out}"),
            *("--executor=slurm", "--config.executor.hosts=2"),
            # Two tasks of the only node stand in for two hosts.
            f"--config={_one_node(tmp_path)}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (out / "runs").iterdir()
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["mesh"]["processes"] == 2
    (only,) = tries.read(run)
    assert (only.engine, only.code) == ("slurm", 0)


def _one_node(folder):
    path = folder / "one_node.py"
    path.write_text(
        "from clinometer.tools.study.configs import study\n"
        "def get_config():\n"
        "    config = study.get_config()\n"
        "    config.executor.slurm.options['nodes'] = 1\n"
        "    config.executor.slurm.options['ntasks-per-node'] = 2\n"
        "    return config\n"
    )
    return path
