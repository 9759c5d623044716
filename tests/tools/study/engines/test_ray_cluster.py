"""Tests a study of twelve runs on a Ray cluster that loses a worker, then a node."""

import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import time

import numpy as np
import pytest

from clinometer.tools.study.engines import environment
from clinometer.tools.study.engines import tries
from clinometer.train import exit_codes

_RUNS = 12
_STEPS = 400
_LINES = 5  # Of the log of a run that trains.


@pytest.fixture
def python(repo_root):
    """Returns the Python of the environment with Ray."""
    path = repo_root / ".venv-ray" / "bin" / "python"
    if not path.is_file():
        pytest.skip("needs .venv-ray; `make setup-ray` creates it")
    return str(path)


@contextlib.contextmanager
def _cluster(python, variables):
    script = pathlib.Path(__file__).with_name("ray_nodes.py")
    process = subprocess.Popen(
        [python, "-P", str(script)],
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


def _corpus(path):
    rng = random.Random(0)
    words = [
        "".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(800)
    ]
    lines = (" ".join(rng.choices(words, k=60)) + ".\n" for _ in range(600))
    path.write_text("".join(lines))


def _log(run):
    """Returns the log of a run, without what depends on the clock."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [
        {key: value for key, value in line.items() if not key.startswith("wall/")}
        for line in map(json.loads, lines)
    ]


def _training(runs, node=""):
    """Returns the runs that train, on a node or anywhere, with their last tries."""
    found = {run.name: tries.read(run) for run in runs.glob("*")}
    return {
        name: mine[-1]
        for name, mine in found.items()
        if mine
        and mine[-1].ended_at is None
        and mine[-1].node.endswith(node)
        and (runs / name / "metrics.jsonl").is_file()
        and (runs / name / "metrics.jsonl").read_bytes().count(b"\n") >= _LINES
    }


def _wait(condition, seconds=600):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return value


def _prepared(python, folder, runs, steps):
    """Makes a token store; returns environment variables and the command of a study."""
    variables = environment.of_run(os.environ) | {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": "180",
        "RAY_agent_register_timeout_ms": "180000",
        "XDG_CACHE_HOME": str(folder / "cache"),
        # All runs have the same program.
        "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    del variables["PYTHONPATH"]  # Of this environment.

    def clinometer(*arguments):
        return [python, "-P", "-m", "clinometer.tools.cli", *arguments]

    _corpus(folder / "text.txt")
    store = folder / "store"
    subprocess.run(
        clinometer(
            *("tokenize", str(folder / "text.txt"), "--document-per-line"),
            *(f"--output={store}", "--vocab-size=640", "--validation-fraction=0.1"),
        ),
        env=variables,
        check=True,
    )
    study = clinometer(
        *("study", f"--store={store}", "--sizes=pico", f"--steps={steps}"),
        *("--seeds", " ".join(map(str, range(runs))), "--learning-rate=0.006"),
        *("--downstream=", "--config.protocol.encoder_length=32"),
    )
    return variables, study


@pytest.mark.slow
def test_a_study_survives_the_loss_of_a_worker_and_of_a_node(python, tmp_path):
    variables, study = _prepared(python, tmp_path, _RUNS, _STEPS)
    with _cluster(python, variables) as cluster:
        address, second = cluster.stdout.readline().split()
        out = tmp_path / "ray"
        remote = subprocess.Popen(
            [
                *study,
                f"--out={out}",
                "--executor=ray",
                f"--config.executor.ray.address={address}",
            ],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        first = _wait(lambda: _training(out / "runs"))
        killed, victim = next(iter(first.items()))
        os.kill(victim.pid, signal.SIGKILL)
        _wait(lambda: _training(out / "runs", second).keys() - {killed})
        print("kill", file=cluster.stdin, flush=True)
        assert cluster.stdout.readline().strip() == "removed"
        said = remote.communicate()[0]
        assert remote.returncode == 0, said
    local = subprocess.run(
        [*study, f"--out={tmp_path / 'local'}", "--executor=local"],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert local.returncode == 0, local.stdout + local.stderr

    runs = sorted((out / "runs").iterdir())
    assert len(runs) == _RUNS
    again, nodes, workers = 0, set(), set()
    for run in runs:
        record = json.loads((run / "run.json").read_text())
        assert record["status"] == "finished"
        made = tries.read(run)
        assert {one.engine for one in made} == {"ray"}
        # The worker and the node of each try, and none of them twice.
        assert all(one.pid > 0 and ":" in one.node for one in made)
        nodes |= {one.node for one in made}
        trained = [one for one in made if one.code != exit_codes.HELD]
        workers |= {(one.node, one.pid) for one in made}
        assert [one.code for one in trained].count(exit_codes.DONE) == 1
        # Each process that trained has taken the lease once; held ones never.
        (lease,) = (run / "lease").glob("*.json")
        assert int(lease.stem) == len(trained)
        again += len(trained) - 1
        # Every step is logged once, and all numbers are those of the local executor.
        other = tmp_path / "local" / "runs" / run.name
        assert _log(run) == _log(other)
        assert _log(run)[-1]["step"] == _STEPS
        mine, its = (np.load(r / "validation_rows.npz") for r in (run, other))
        assert sorted(mine.files) == sorted(its.files)
        for name in mine.files:
            np.testing.assert_array_equal(mine[name], its[name])
        assert tries.read(other)[0].engine == "local"
    assert len(nodes) == 2 and len(workers) > 2
    assert len(tries.read(out / "runs" / killed)) > 1
    assert again == 2  # The worker's run, and the node's.


@pytest.mark.slow
def test_an_interrupted_study_goes_on_elsewhere(python, tmp_path):
    variables, study = _prepared(python, tmp_path, 3, 600)
    out = tmp_path / "study"
    with _cluster(python, variables) as cluster:
        address, _ = cluster.stdout.readline().split()
        ray = ["--executor=ray", f"--config.executor.ray.address={address}"]
        remote = subprocess.Popen(
            [*study, f"--out={out}", *ray],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

        def both():
            found = _training(out / "runs")
            return found if len(found) == 2 else None

        training = _wait(both)
        remote.send_signal(signal.SIGINT)
        said = remote.communicate()[0]
        assert remote.returncode == exit_codes.STOPPED, said
    saved = {}
    for run in sorted((out / "runs").iterdir()):
        if run.name in training:
            assert json.loads((run / "run.json").read_text())["status"] == "stopped"
            assert not (run / "stop").exists()
            (only,) = tries.read(run)
            assert only.code == exit_codes.STOPPED
            saved[run.name] = tries.saved_step(run)
        else:  # It was taken back from the queue.
            assert tries.read(run) == [] and not (run / "run.json").exists()
    assert all(step > 0 for step in saved.values())
    local = subprocess.run(
        [*study, f"--out={out}"],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert local.returncode == 0, local.stdout + local.stderr
    for name, step in saved.items():
        first, second = tries.read(out / "runs" / name)
        assert (first.engine, second.engine) == ("ray", "local")
        assert second.step == step and second.code == exit_codes.DONE
    for run in (out / "runs").iterdir():
        assert _log(run)[-1]["step"] == 600
        assert not (run / "stop").exists()
