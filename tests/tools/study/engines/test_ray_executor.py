"""Tests the Ray executor with a stand-in for Ray; `test_ray_cluster` has a real one."""

import socket
import sys
import types

import pytest

from clinometer.tools.study import executor
from clinometer.tools.study.engines import policy
from clinometer.tools.study.engines import ray_cluster
from clinometer.tools.study.engines import settings
from clinometer.tools.study.engines import tries
from clinometer.train import errors


class _RayError(Exception):
    pass


class _TaskError(_RayError):
    pass


class _CancelledError(_RayError):
    pass


class _Ray(types.ModuleType):
    """Has one node; a task ends with what a test puts into `outcomes`."""

    def __init__(self):
        super().__init__("ray")
        self.exceptions = types.SimpleNamespace(
            RayError=_RayError,
            RayTaskError=_TaskError,
            TaskCancelledError=_CancelledError,
        )
        self.outcomes, self.cancelled, self.asked, self.address = {}, [], {}, None
        self.refuses = False

    def is_initialized(self):
        return self.address is not None

    def init(self, address, **unused):
        if self.refuses:
            raise ConnectionError("could not connect\nto it")
        self.address = address

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 2.0, "slot": 1.0, "node:x": 1.0}}]

    def remote(self, **options):
        self.asked = options
        remote = types.SimpleNamespace(remote=lambda task, cpus, variables: task.name)
        return lambda function: types.SimpleNamespace(options=lambda name: remote)

    def wait(self, references, timeout):
        return [r for r in references if r in self.outcomes], []

    def get(self, reference):
        outcome = self.outcomes[reference]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def cancel(self, reference, force):
        self.cancelled.append((reference, force))


@pytest.fixture
def ray(monkeypatch):
    module = _Ray()
    monkeypatch.setitem(sys.modules, "ray", module)
    return module


def _executor(**changes):
    return ray_cluster.RayExecutor(settings.EngineSettings(name="ray", **changes))


def _tasks(tmp_path, *names):
    for name in names:
        (tmp_path / name).mkdir()
    return [executor.Task(name, tmp_path / name, (), "s") for name in names]


def test_what_a_run_gets(ray):
    _executor(cpus=2, ray_resources={"slot": 0.5})
    assert ray.asked == {
        "num_cpus": 2,
        "num_gpus": 0,
        "resources": {"slot": 0.5},
        "max_retries": -1,
    }


def test_how_tasks_end(ray, tmp_path):
    made = _executor()
    handles = made.submit(_tasks(tmp_path, "a", "b", "c", "d", "e"))
    assert made.poll(handles[0]) is None
    ray.outcomes = {
        "a": 44,
        "b": _RayError("the node died"),
        "c": _CancelledError(),
        "d": _TaskError("no such folder"),
    }
    assert [made.poll(handle) for handle in handles] == [
        44,
        policy.WORKER_LOST,
        42,
        1,
        None,
    ]
    assert "no such folder" in (tmp_path / "d" / "log.txt").read_text()


def test_cancel_asks_what_runs_and_takes_back_what_waits(ray, tmp_path):
    made = _executor()
    runs, waits = made.submit(_tasks(tmp_path, "runs", "waits"))
    tries.begin(runs.task, engine="ray", pid=1)
    made.cancel(runs)
    made.cancel(waits)
    assert ray.cancelled == [("waits", False)]
    assert (tmp_path / "runs" / "stop").is_file()
    made.cancel(runs, force=True)
    assert ray.cancelled[1:] == [("runs", True)]


def test_a_cluster_that_does_not_run_or_has_too_little(ray):
    ray.refuses = True
    with pytest.raises(errors.ConfigError, match=r"'auto' \(could not connect\)"):
        _executor()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(errors.ConfigError, match="Connection refused"):
        _executor(ray_address=f"127.0.0.1:{port}")
    ray.refuses = False
    for lacking in ({"cpus": 3}, {"gpus": 1}, {"ray_resources": {"tpu": 1.0}}):
        with pytest.raises(errors.ConfigError, match="nodes have CPU, slot"):
            _executor(**lacking)
