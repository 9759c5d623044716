"""Tests the Slurm executor with stand-ins for jobs; `test_slurm` has a real cluster."""

import dataclasses
import os
import types

import pytest
import submitit

from clinometer.tools.study import executor
from clinometer.tools.study.engines import policy
from clinometer.tools.study.engines import settings
from clinometer.tools.study.engines import slurm
from clinometer.tools.study.engines import slurm_job
from clinometer.tools.study.engines import tries


class _Part:
    """A job of submitit, or one of its tasks."""

    def __init__(self, folder, number, index, parts):
        self.paths = types.SimpleNamespace(result_pickle=folder / f"{number}_{index}")
        self.job_id, self._parts = number, parts
        self.failure, self.cancelled = None, False

    @property
    def num_tasks(self):
        return len(self._parts)

    def task(self, index):
        return self._parts[index]

    def exception(self):
        return self.failure

    def result(self):
        return int(self.paths.result_pickle.read_text())

    def cancel(self, check):
        assert not check
        self.cancelled = True


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """Returns the file with the jobs that a stand-in for `squeue` lists.

    Jobs are submitted with the number 9; the file "cancelled" has what is cancelled.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    file = tmp_path / "queue"
    file.write_text("")
    (tmp_path / "cancelled").write_text("")
    does = {
        "squeue": f"cat {file}",
        "sbatch": "echo Submitted batch job 9",
        "scancel": f'echo "$@" >> {tmp_path / "cancelled"}',
    }
    for name in slurm._COMMANDS:
        lines = does.get(name, "exit 0")
        (folder / name).write_text(f"#!/bin/sh\n{lines}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(slurm.SlurmExecutor, "poll_seconds", 0.0)
    monkeypatch.setattr(slurm, "_RESULT_SECONDS", 0.0)
    return file


def _submitted(tmp_path, number="7_0", tasks=1):
    parts = []
    parts += [_Part(tmp_path, number, index, parts) for index in range(tasks)]
    run = tmp_path / "run"
    run.mkdir()
    return slurm.Submitted(executor.Task("run", run, (), "s"), parts[0]), parts


def _task(tmp_path, name, submission):
    run = tmp_path / "runs" / name
    run.mkdir(parents=True, exist_ok=True)
    return executor.Task(name, run, ("-m", "train"), submission)


def _left(tmp_path, task, number, hosts=1):
    """Leaves a job of an earlier command of the study in submitit's folder."""
    job = submitit.SlurmJob(tmp_path / slurm.FOLDER, number, range(hosts))
    job.paths.folder.mkdir(exist_ok=True)
    function = slurm_job.SlurmJob(task, 1, hosts)
    submitted = submitit.core.utils.DelayedSubmission(function)
    submitted.dump(job.paths.submitted_pickle)
    return job


def _executor(tmp_path, **changes):
    given = settings.EngineSettings(name="slurm", **changes)
    return slurm.SlurmExecutor(given, tmp_path)


def _end(part, code):
    part.paths.result_pickle.write_text(str(code))


def test_a_job_runs_until_it_has_a_result(queue, tmp_path):
    made = _executor(tmp_path)
    handle, (job,) = _submitted(tmp_path)
    queue.write_text("6_0\n7_0\n")
    assert made.poll(handle) is None
    _end(job, 44)
    assert made.poll(handle) == 44


def test_a_job_that_left_the_queue_without_a_result_is_lost(
    queue, tmp_path, monkeypatch
):
    made = _executor(tmp_path)
    handle, _ = _submitted(tmp_path)
    queue.write_text("7_1\n")
    monkeypatch.setattr(slurm, "_RESULT_SECONDS", 60.0)
    assert made.poll(handle) is None  # Its result may be late.
    queue.write_text("7_0\n")
    assert made.poll(handle) is None and handle.gone_since is None
    queue.write_text("")
    monkeypatch.setattr(slurm, "_RESULT_SECONDS", 0.0)
    assert made.poll(handle) == policy.WORKER_LOST


def test_a_queue_that_does_not_answer_loses_no_job(queue, tmp_path):
    made = _executor(tmp_path)
    handle, _ = _submitted(tmp_path)
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\nexit 1\n")
    assert made.poll(handle) is None


def test_the_first_process_of_a_gang_decides_when_all_have_ended(queue, tmp_path):
    made = _executor(tmp_path, hosts=2)
    handle, (first, second) = _submitted(tmp_path, "7", tasks=2)
    queue.write_text("7\n")
    _end(first, 42)
    assert made.poll(handle) is None
    _end(second, 44)
    assert made.poll(handle) == 42


def test_how_a_failed_job_ends(queue, tmp_path):
    made = _executor(tmp_path)
    handle, (job,) = _submitted(tmp_path)
    _end(job, 0)
    job.failure = RuntimeError("UncompletedJobError: Job not requeued because ...")
    assert made.poll(handle) == policy.WORKER_LOST
    job.failure = RuntimeError("no such folder")
    assert made.poll(handle) == 1
    assert "no such folder" in handle.task.log.read_text()


def test_cancel_asks_what_runs_and_takes_back_what_waits(queue, tmp_path):
    made = _executor(tmp_path)
    handle, (job,) = _submitted(tmp_path)
    tries.begin(handle.task, engine="slurm", pid=1)
    made.cancel(handle)
    assert (handle.task.folder / "stop").is_file() and not job.cancelled
    tries.end(handle.task, 42)
    made.cancel(handle)
    assert job.cancelled and made.poll(handle) == 42


def test_a_job_that_slurm_still_has_is_taken_over(queue, tmp_path):
    said = []
    made = slurm.SlurmExecutor(
        settings.EngineSettings(name="slurm"), tmp_path, say=said.append
    )
    names = ("a", "b", "c")
    _left(tmp_path, _task(tmp_path, "b", "before"), "7_0")
    _left(tmp_path, _task(tmp_path, "c", "before"), "7_1")
    queue.write_text("7_0\n7_1\n8\n")
    handles = made.submit([_task(tmp_path, name, "now") for name in names])
    assert [handle.task.name for handle in handles] == [*names]
    assert [handle.job.job_id for handle in handles] == ["9", "7_0", "7_1"]
    assert [handle.task.submission for handle in handles] == ["now"] + ["before"] * 2
    assert said == ["b: Slurm has it, as job 7_0", "c: Slurm has it, as job 7_1"]
    # What runs is asked to save, though another command has started it.
    _, running, waiting = handles
    tries.begin(running.task, engine="slurm", pid=1, job="7_0")
    for handle in (running, waiting):
        made.cancel(handle)
    assert (running.task.folder / "stop").is_file()
    assert (tmp_path / "cancelled").read_text() == "7_1\n"
    submitit.core.utils.cloudpickle_dump(("success", 42), _result(running.job))
    queue.write_text("")
    assert (made.poll(running), made.poll(waiting)) == (42, 42)


def _result(job, task=0):
    return job.task(task).paths.result_pickle


def test_only_a_job_that_does_the_same_is_taken_over(queue, tmp_path):
    made = _executor(tmp_path)
    other = dataclasses.replace(_task(tmp_path, "b", "before"), arguments=("-c", "1"))
    _left(tmp_path, _task(tmp_path, "a", "before"), "1")  # It has left the queue.
    _left(tmp_path, other, "2")
    ended = _left(tmp_path, _task(tmp_path, "c", "before"), "3")
    _result(ended).touch()
    damaged = _left(tmp_path, _task(tmp_path, "d", "before"), "4")
    damaged.paths.submitted_pickle.write_bytes(b"")
    queue.write_text("2\n3\n4\n")
    for name in "abcd":
        (handle,) = made.submit([_task(tmp_path, name, "now")])
        assert (handle.job.job_id, handle.task.submission) == ("9", "now")


def test_a_gang_is_taken_over_until_all_its_processes_have_ended(queue, tmp_path):
    made = _executor(tmp_path, hosts=2)
    gang = _left(tmp_path, _task(tmp_path, "a", "before"), "7", hosts=2)
    _result(gang).touch()
    queue.write_text("7\n")
    (handle,) = made.submit([_task(tmp_path, "a", "now")])
    assert handle.job.job_id == "7" and made.poll(handle) is None
    _result(gang, 1).touch()
    (handle,) = made.submit([_task(tmp_path, "a", "now")])
    assert handle.job.job_id == "9"


def test_options_of_the_user_come_before_ours(queue, tmp_path):
    given = {"ntasks_per_node": 2, "account": "mine", "cpus-per-task": 9}
    made = _executor(tmp_path, cpus=3, slurm_options=given, slurm_minutes=8)
    script = made._engine._make_submission_file_text("true", "x")
    flags = [line.split("--")[1] for line in script.splitlines() if "SBATCH" in line]
    assert {"ntasks-per-node=2", "account=mine", "cpus-per-task=9", "time=8"} <= {
        *flags
    }
    assert len({flag.split("=")[0] for flag in flags}) == len(flags)
    assert "signal=USR2@120" in flags and "requeue" in flags
    # Slurm gives it to `sbatch` and, since 22.05, no longer to `srun`.
    assert 'export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK}"' in script
