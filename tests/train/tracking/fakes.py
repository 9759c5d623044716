"""Stand-ins for trackers and for the calls of W&B and MLflow that we make."""

import dataclasses
import importlib.machinery
import sys
import types

import pytest

from clinometer.train.run import directory as run_directory
from clinometer.train.tracking import tracker as tracker_lib

# The package `clinometer.train.tracking` of a module is that of its name.
_OURS = "clinometer.train.tracking"


class Memory:
    """A tracker that remembers its calls."""

    made: list["Memory"] = []

    def __init__(self, run):
        self.run, self.calls = run, []
        Memory.made.append(self)

    def scalars(self, step, values):
        self.calls.append((step, dict(values)))

    def sync(self):
        self.calls.append("sync")

    def finish(self, status):
        self.calls.append(status)


class Broken(Memory):
    """A tracker that fails at the first record."""

    def scalars(self, step, values):
        raise OSError("no network")


def install(
    monkeypatch: pytest.MonkeyPatch, package: types.ModuleType, ours: str
) -> None:
    """Makes a package importable, and our module that imports it new in this test.

    Args:
        monkeypatch: undoes it.
        package: the stand-in.
        ours: name of our module in `train/tracking`.
    """
    package.__spec__ = importlib.machinery.ModuleSpec(
        package.__name__, None, origin=__file__
    )
    monkeypatch.setitem(sys.modules, package.__name__, package)
    # Set before it is deleted, so that the end of the test deletes what it imported.
    monkeypatch.setitem(sys.modules, f"{_OURS}.{ours}", None)
    del sys.modules[f"{_OURS}.{ours}"]


def tracked(path, start_step=0, **config) -> tracker_lib.TrackedRun:
    """Returns a run in a folder."""
    path.mkdir(exist_ok=True)
    return tracker_lib.TrackedRun(
        directory=run_directory.RunDirectory(path),
        config={"kind": "pretraining", **config},
        git_revision="abc123",
        start_step=start_step,
    )


def wandb() -> types.ModuleType:
    """Returns a stand-in for W&B, whose `server` has id -> run.

    As documented for `Run.log`: values of one step are merged, and those of a step
    below the latest are dropped; a resumed run goes on at its latest step.
    """
    module = types.ModuleType("wandb")
    module.server = {}

    class Run:
        def __init__(self, **given):
            self.given, self.history, self.step = given, {}, 0
            self.summary, self.exit_code, self.dropped = {}, None, []

        def log(self, values, step):
            if step < self.step:
                self.dropped.append(step)
                return
            self.step = step
            self.history.setdefault(step, {}).update(values)

        def finish(self, exit_code):
            self.exit_code = exit_code

    def setup(settings):
        module.silent = settings.silent

    def init(*, id, resume, **given):
        # As documented: it may ask for a key at the terminal unless it is silent.
        assert module.silent and resume == "allow"
        run = module.server.setdefault(id, Run(**given))
        run.exit_code = None
        return run

    module.setup, module.init = setup, init
    module.Settings = types.SimpleNamespace
    return module


def mlflow() -> types.ModuleType:
    """Returns a stand-in for MLflow, whose `server` has id -> run.

    As documented for `MlflowClient`: all metrics that are logged are kept, at most 1000
    a call; a parameter cannot change; at most 100 parameters a call.
    """
    module = types.ModuleType("mlflow")
    module.server, module.experiments = {}, {}

    @dataclasses.dataclass
    class Metric:
        key: str
        value: float
        timestamp: int
        step: int

    @dataclasses.dataclass
    class Param:
        key: str
        value: str

    class MlflowClient:
        def get_experiment_by_name(self, name):
            if name not in module.experiments:
                return None
            return types.SimpleNamespace(experiment_id=module.experiments[name])

        def create_experiment(self, name):
            assert name not in module.experiments
            return module.experiments.setdefault(name, f"e{len(module.experiments)}")

        def create_run(self, experiment_id, run_name, tags):
            assert experiment_id in module.experiments.values()
            run = types.SimpleNamespace(
                name=run_name, tags=tags, status="RUNNING", metrics=[], params={}
            )
            identifier = f"r{len(module.server)}"
            module.server[identifier] = run
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id=identifier))

        def update_run(self, run_id, status):
            module.server[run_id].status = status

        def log_batch(self, run_id, metrics=(), params=()):
            assert len(metrics) <= 1000 and len(params) <= 100
            run = module.server[run_id]
            run.metrics += metrics
            for param in params:
                assert run.params.setdefault(param.key, param.value) == param.value

        def get_metric_history(self, run_id, key):
            return [m for m in module.server[run_id].metrics if m.key == key]

        def set_terminated(self, run_id, status):
            module.server[run_id].status = status

    module.MlflowClient = MlflowClient
    module.entities = types.SimpleNamespace(Metric=Metric, Param=Param)
    return module
