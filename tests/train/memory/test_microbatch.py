"""Tests of runs that choose their microbatches, and of runs that run out of memory."""

import shlex

import jax
import pytest

from clinometer.tests.train import whole_runs
from clinometer.train import compiled
from clinometer.train import job as job_lib
from clinometer.train import main
from clinometer.train.memory import need as need_lib
from clinometer.train.memory import search

_SHORT = ("train_steps=4", "log.health_every_steps=0")


@pytest.fixture(scope="module")
def enough_for_two(make_config):
    """Bytes that two microbatches need, and one exceeds."""
    job = job_lib.prepare(make_config(*_SHORT))
    return search.largest(job, [2], 10**12, lambda text: None).need.total


def _run(arguments, workdir, *overrides):
    return main.main([*arguments(*_SHORT, *overrides), f"--workdir={workdir}"])


@pytest.fixture(scope="module")
def chosen(arguments, enough_for_two, tmp_path_factory):
    """The run directory of a run that chose two microbatches; must not be modified."""
    workdir = tmp_path_factory.mktemp("chosen") / "run"
    memory = f"device_memory_bytes={enough_for_two}"
    assert _run(arguments, workdir, "microbatch=auto", memory) == 0
    return workdir


def test_the_run_is_the_one_with_that_number(
    arguments, chosen, make_config, tmp_path, capsys
):
    config = whole_runs.record(chosen)["config"]
    assert (config["microbatch"], config["num_microbatches"]) == ("auto", 2)
    assert config["data"]["batch_size"] == 4
    assert _run(arguments, tmp_path / "two", "num_microbatches=2") == 0
    given = make_config(*_SHORT, "num_microbatches=2")
    whole_runs.assert_same(chosen, tmp_path / "two", given)
    # With memory enough it is another run.
    capsys.readouterr()
    memory = "device_memory_bytes=1_000_000_000_000"
    assert _run(arguments, tmp_path / "one", "microbatch=auto", memory) == 0
    (line,) = (s for s in capsys.readouterr().err.splitlines() if "needs" in s)
    assert "num_microbatches 1 (4 rows each) needs" in line
    assert line.endswith("a device: fits for 1.0 TB")
    assert whole_runs.record(tmp_path / "one")["config"]["num_microbatches"] == 1
    assert whole_runs.records(tmp_path / "one") != whole_runs.records(chosen)


def test_a_resumed_run_keeps_its_number(arguments, chosen, capsys, monkeypatch):
    whole_runs.compile_nothing(monkeypatch)  # The run has finished.
    memory = "device_memory_bytes=1_000_000_000_000"
    assert _run(arguments, chosen, "microbatch=auto", memory) == 0
    said = capsys.readouterr()
    assert "num_microbatches 2, as in the checkpoint of step 4" in said.err
    assert "nothing to do" in said.out
    assert _run(arguments, chosen) == 1
    assert "num_microbatches is 1 here, 2 there" in capsys.readouterr().err


def test_nothing_fits(arguments, tmp_path, capsys):
    settings = ("microbatch=auto", "num_microbatches=4", "device_memory_bytes=1000")
    remat = ("model.remat=layer", "model.dtype=bfloat16")
    assert _run(arguments, tmp_path / "run", *settings, *remat) == 1
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("clinometer train: error: config.microbatch: no microbatch")
    assert "Nothing fits in the 1.0 kB of a device" in error
    # 12,528 float32 parameters and nearly as many second moments of Adafactor.
    assert "the least, with microbatches of 1 rows, remat layer, dtype" in error
    assert "here 100.5 kB a device, by --config.mesh.fsdp=N" in error
    assert not (tmp_path / "run" / "run.json").exists()


def test_devices_that_do_not_say(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(need_lib, "of_any_device", lambda *unused: None)
    assert _run(arguments, tmp_path / "run", "microbatch=auto") == 2
    assert "config.device_memory_bytes: the devices do not" in capsys.readouterr().err


class _Exhausted:
    """A train step that needs more memory than its compiler said."""

    def __init__(self, program):
        self.memory_analysis = program.memory_analysis

    def __call__(self, *unused):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory: 1 byte")


def test_out_of_memory(arguments, enough_for_two, tmp_path, capsys, monkeypatch):
    """The error has the options with which the same command then runs."""
    lower = compiled.lower_train_step

    class Lowered:
        def __init__(self, job):
            self._job = job

        def compile(self):
            program = lower(self._job).compile()
            exhausted = self._job.config.num_microbatches == 1
            return _Exhausted(program) if exhausted else program

    monkeypatch.setattr(compiled, "lower_train_step", Lowered)
    memory = f"device_memory_bytes={enough_for_two}"
    workdir = tmp_path / "run"
    assert _run(arguments, workdir, memory) == 1
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith(
        "clinometer train: error: out of memory with microbatches of 4 rows, remat "
        "none, dtype float32. It fits with microbatches of 2 rows, remat none, dtype "
        "float32, which needs "
    )
    record = whole_runs.record(workdir)
    assert record["status"] == "failed"
    assert "RunError: out of memory with" in record["error"]
    options = shlex.split(error.partition("give ")[2])
    assert options == ["--config.num_microbatches=2"]
    given = [option.removeprefix("--config.") for option in options]
    assert _run(arguments, workdir, memory, *given) == 0


def test_other_errors_of_programs_are_not_advised_on(arguments, tmp_path, monkeypatch):
    def fail(job):
        raise jax.errors.JaxRuntimeError("INTERNAL: a bug")

    monkeypatch.setattr(compiled, "lower_train_step", fail)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        _run(arguments, tmp_path / "run")
