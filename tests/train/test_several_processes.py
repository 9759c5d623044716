"""Tests of whole tiny runs of several operating-system processes on one machine.

Each process sees only a device of its own; they compute together by Gloo.
"""

import json
import os
import signal
import time

import pytest

from clinometer.tests.train import conftest
from clinometer.tests.train import processes
from clinometer.tests.train import whole_runs
from clinometer.train import main
from clinometer.train.run import lease

_LONG = ("train_steps=100_000", "log.every_steps=1")
# The requirement is 15 s on CPU; the machine may be busy.
_LOST_SECONDS = 45
_ENOUGH_SECONDS = 600


@pytest.fixture(scope="session")
def start(arguments, tmp_path_factory):
    """Returns a function that starts the processes of a run."""

    def begin(workdir, number, *overrides, own=None, devices=1):
        commands = []
        for index in range(number):
            more = (own or {}).get(index, ())
            fields = arguments(*overrides, *more)
            commands.append(["clinometer.train.main", *fields, f"--workdir={workdir}"])
        return _start(tmp_path_factory.mktemp("logs"), commands, devices)

    return begin


def _start(folder, commands, devices=1):
    """Starts a process for each command, a module and its arguments."""
    port, number = processes.free_port(), len(commands)
    places = [
        [
            f"--coordinator=localhost:{port}",
            f"--num-processes={number}",
            f"--process-id={index}",
        ]
        for index in range(number)
    ]
    flags = f"--xla_force_host_platform_device_count={devices}"
    return processes.Group(
        folder,
        [
            processes.python(*command, *(place if number > 1 else []))
            for command, place in zip(commands, places, strict=True)
        ],
        XLA_FLAGS=f"{os.environ['XLA_FLAGS']} {flags}",
    )


def _await_step(group, workdir, step):
    """Waits until the log has a record of a step."""
    end = time.monotonic() + _ENOUGH_SECONDS
    while True:
        if (workdir / "metrics.jsonl").exists():
            records = whole_runs.log(workdir)
            if records and records[-1]["step"] >= step:
                return
        assert time.monotonic() < end, group.tails()
        assert None in [child.poll() for child in group.children], group.tails()
        time.sleep(0.05)


def _assert_no_abort(output):
    assert "Check failure" not in output and "Fatal Python error" not in output
    assert "Traceback" not in output, output


def test_two_processes_stop_together_and_one_goes_on(start, arguments, tmp_path):
    workdir = tmp_path / "run"
    with start(workdir, 2, *_LONG) as group:
        _await_step(group, workdir, 5)  # After an evaluation and a checkpoint.
        group.children[1].send_signal(signal.SIGTERM)
        assert group.wait(_ENOUGH_SECONDS) == [42, 42], group.tails()
        for index in range(2):
            _assert_no_abort(group.output(index))
        assert "stopped at step" in group.output(0)
        assert "transformer-pico" not in group.output(1)
    record = whole_runs.record(workdir)
    step = record["metrics"]["step"]
    assert record["status"] == "stopped"
    assert (record["mesh"]["processes"], record["mesh"]["data"]) == (2, 2)
    assert whole_runs.log(workdir)[-1]["step"] == step
    assert max(int(p.name) for p in (workdir / "checkpoints").iterdir()) == step
    last = f"train_steps={step + 2}"
    command = [*arguments(*_LONG, last), f"--workdir={workdir}"]
    assert main.main(command) == 0
    records = whole_runs.log(workdir)
    # No step is missing, and none is there twice.
    trained = [r["step"] for r in records if "train/loss" in r]
    assert trained == list(range(1, step + 3))


@pytest.mark.slow
def test_two_processes_equal_two_devices_to_the_bit(start, tmp_path):
    """The sum of two numbers does not depend on their order; that of four does."""
    fields = ("train_steps=40", "log.every_steps=1")
    for name, count, devices, more in [
        ("processes", 2, 1, ()),
        ("devices", 1, 2, ()),
        ("other", 1, 2, ("data.order=1",)),
    ]:
        with start(tmp_path / name, count, *fields, *more, devices=devices) as group:
            assert group.wait(_ENOUGH_SECONDS) == [0] * count, group.tails()
    mine, same, other = (
        whole_runs.records(tmp_path / name)
        for name in ("processes", "devices", "other")
    )
    assert len([r for r in mine if "train/loss" in r]) == 40
    assert mine == same
    assert mine[0] != other[0]


_FINETUNING = (
    "train_steps=2",
    "data.batch_size=4",
    "data.encoder_length=32",
    "data.decoder_length=16",
    "eval.every_steps=2",
    "eval.max_rows=4",
    "eval.max_examples=8",
    "eval.batch_size=4",
    "log.trackers=",
)


@pytest.mark.slow
def test_two_processes_fine_tune_and_evaluate(start, tmp_path):
    """The scores of an evaluation are those of the run, and one process prints them."""
    base, run = tmp_path / "base", tmp_path / "run"
    with start(base, 2, "train_steps=2") as group:
        assert group.wait(_ENOUGH_SECONDS) == [0, 0], group.tails()
    command = [
        "clinometer.train.downstream.finetune",
        f"--from={base}",
        "--mixture=probes",
        f"--workdir={run}",
        *(f"--config.{field}" for field in _FINETUNING),
    ]
    for name in ("tuning", "evaluation"):
        (tmp_path / name).mkdir()
    with _start(tmp_path / "tuning", [command] * 2) as group:
        assert group.wait(_ENOUGH_SECONDS) == [0, 0], group.tails()
        assert "summary written to" in group.output(0)
        assert "transformer-pico" not in group.output(1)
    scores = whole_runs.record(run)["downstream"]["tasks"]
    command = [
        "clinometer.train.downstream.evaluation",
        str(run),
        "--batch-size=4",
        "--max-examples=8",
        "--json",
    ]
    with _start(tmp_path / "evaluation", [command] * 2) as group:
        assert group.wait(_ENOUGH_SECONDS) == [0, 0], group.tails()
        # Before it is a line of Gloo.
        printed = json.loads("{" + group.output(0).partition("{")[2])
        assert "tasks" not in group.output(1)
    assert {name: task["score"] for name, task in printed["tasks"].items()} == {
        name: task["last"] for name, task in scores.items()
    }
    (recorded,) = whole_runs.record(run)["evaluations"]
    assert recorded["tasks"] == printed["tasks"]
    assert len(list(run.glob("evaluation-greedy-2/*.jsonl"))) == len(scores)


@pytest.mark.slow
def test_four_processes_stop_by_a_file_and_two_go_on(start, tmp_path):
    workdir = tmp_path / "run"
    mesh = ("mesh.model=2", "data.batch_size=8")
    with start(workdir, 4, *_LONG, *mesh) as group:
        _await_step(group, workdir, 5)
        (workdir / "stop").touch()
        assert group.wait(_ENOUGH_SECONDS) == [42] * 4, group.tails()
    assert not (workdir / "stop").exists()
    step = whole_runs.record(workdir)["metrics"]["step"]
    last = f"train_steps={step + 2}"
    with start(workdir, 2, *_LONG, *mesh, last) as group:
        assert group.wait(_ENOUGH_SECONDS) == [0, 0], group.tails()
    record = whole_runs.record(workdir)
    assert (record["status"], record["metrics"]["step"]) == ("finished", step + 2)
    assert (record["mesh"]["processes"], record["mesh"]["model"]) == (2, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "killed"), [(2, 1), (2, 0), (4, 2), (4, 0)])
def test_a_killed_process_fails_the_run(start, tmp_path, number, killed):
    workdir = tmp_path / "run"
    with start(workdir, number, *_LONG) as group:
        _await_step(group, workdir, 5)
        group.children[killed].kill()
        rest = [index for index in range(number) if index != killed]
        codes = group.wait(_LOST_SECONDS, *rest)
        assert codes == [44] * len(rest), group.tails()
        for index in rest:
            output = group.output(index)
            _assert_no_abort(output)
            said = [line for line in output.splitlines() if "error" in line]
            assert len(said) == 1, output
            assert f"clinometer train: error: process {killed} (" in said[0]
            assert "is lost: its connection closed; run the same" in said[0]
    record = whole_runs.record(workdir)
    assert record["status"] == "failed"
    assert record["error"].startswith(f"process {killed} (")
    newest = max((workdir / "lease").glob("*.json"), key=lambda path: int(path.stem))
    held = json.loads(newest.read_text())
    assert held["released"]
    if number == 2:  # Of more, a later one may have looked at the record afterwards.
        assert held["pid"] == group.children[rest[0]].pid
    with lease.Lease(workdir):
        pass


@pytest.mark.slow
def test_a_stuck_process_is_noticed(start, tmp_path):
    workdir = tmp_path / "run"
    with start(workdir, 2, *_LONG, "hosts.watchdog_seconds=6") as group:
        _await_step(group, workdir, 5)
        group.children[1].send_signal(signal.SIGSTOP)
        assert group.wait(_LOST_SECONDS, 0) == [44], group.tails()
        output = group.output(0)
        assert "a train step did not end within 6 s; run the same" in output
        assert "most recent call first" in output and "in fetched" in output
    record = whole_runs.record(workdir)
    assert record["status"] == "failed"
    assert record["error"] == "a train step did not end within 6 s"


@pytest.mark.slow
def test_an_absent_coordinator_is_one_line(arguments, tmp_path):
    port = processes.free_port()
    command = processes.python(
        "clinometer.train.main",
        *arguments(),
        f"--workdir={tmp_path / 'run'}",
        f"--coordinator=localhost:{port}",
        "--num-processes=2",
        "--process-id=1",
    )
    with processes.Group(tmp_path, [command]) as group:
        # The requirement is 30 s; the machine may be busy.
        assert group.wait(90) == [1]
        (line,) = group.output(0).splitlines()
    problem = f"no process answers at localhost:{port} within 20 s"
    assert line.startswith(f"clinometer train: error: --coordinator: {problem}")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "words"),
    [
        (["train_steps=9"], "config.train_steps is 9 in process 1 and 8 in process 0"),
        (["data.order=1"], "config.data.order is 1 in process 1 and 0 in process 0"),
        (["data.store=nowhere"], "config.data.store: "),
        (["data.store={other}"], "data.corpus_hash is "),
        (["mesh.data=3"], "but there are 2; the axes must multiply to that number"),
    ],
)
def test_another_configuration_is_refused_by_all(start, tmp_path, own, words):
    workdir = tmp_path / "run"
    other = conftest.write_store(tmp_path, seed=1)
    own = [field.format(other=other) for field in own]
    with start(workdir, 2, own={1: own}) as group:
        assert group.wait(_ENOUGH_SECONDS) == [2, 2], group.tails()
        for index in range(2):
            assert words in group.output(index)
    assert not workdir.exists()  # Nothing was compiled.


@pytest.mark.slow
def test_a_held_run_is_refused_by_all(start, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    with lease.Lease(workdir), start(workdir, 2) as group:
        assert group.wait(_ENOUGH_SECONDS) == [43, 43], group.tails()
        for index in range(2):
            assert f"is being trained by process {os.getpid()}" in group.output(index)
