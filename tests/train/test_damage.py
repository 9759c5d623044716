"""Tests of damaged run directories: the run resumes, or an error names the file.

Each file of a real run directory is deleted, cut, overwritten and so on by itself.
"""

import collections
import contextlib
import io
import logging
import random
import re
import shutil

import jax
import numpy as np
import pytest

from clinometer.tests.train import whole_runs
from clinometer.tools.report import records
from clinometer.tools.study import progress
from clinometer.train import errors
from clinometer.train import initial
from clinometer.train import job as job_lib
from clinometer.train import main
from clinometer.train import state as state_lib
from clinometer.train.run import checkpoints
from clinometer.train.run import record as run_record

_IN_PLACE = ("another digit", "nothing", "flip a bit", "flip another bit")
_STEPS = (8, 4)  # Of the checkpoints, newest first.


def _flip(data, rng):
    place, bit = rng.randrange(len(data)), 1 << rng.randrange(8)
    return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]


def _number(data, rng, text):
    """Replaces one of the numbers by text."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if not found:
        return text
    match = rng.choice(found)
    return data[: match.start()] + text + data[match.end() :]


# Each takes the content of a file and a random generator; None deletes the file.
DAMAGES = {
    "delete": lambda data, rng: None,
    "empty": lambda data, rng: b"",
    "cut": lambda data, rng: data[: rng.randrange(len(data))],
    "cut by one": lambda data, rng: data[:-1],
    "overwrite": lambda data, rng: rng.randbytes(len(data)),
    "overwrite a part": lambda data, rng: (
        data[: len(data) // 2] + rng.randbytes(len(data) - len(data) // 2)
    ),
    "zeros": lambda data, rng: bytes(len(data)),
    "flip a bit": _flip,
    "flip another bit": _flip,
    "double": lambda data, rng: data + data,
    "list": lambda data, rng: b"[]",
    "object": lambda data, rng: b"{}",
    "null": lambda data, rng: b"null\n",
    "deep": lambda data, rng: b"[" * 100_000,
    "another digit": lambda data, rng: _number(data, rng, b"7"),
    "NaN": lambda data, rng: _number(data, rng, b"NaN"),
    "1e999": lambda data, rng: _number(data, rng, b"1e999"),
    "a text": lambda data, rng: _number(data, rng, b'"seven"'),
    "nothing": lambda data, rng: _number(data, rng, b"null"),
}


def _damage(path, kind, rng):
    data = DAMAGES[kind](path.read_bytes(), rng)
    path.unlink()
    if data is not None:
        path.write_bytes(data)


@pytest.fixture(scope="module")
def run(arguments, tmp_path_factory):
    """A run of 8 steps with checkpoints at 4 and 8; must not be modified."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    assert main.main([*arguments(), f"--workdir={workdir}"]) == 0
    return workdir


@pytest.fixture(scope="module")
def restore(make_config):
    """Restores (step, state, progress) from a folder of checkpoints."""
    job = job_lib.prepare(make_config())
    abstract = jax.eval_shape(
        lambda: state_lib.initialise(job.model, job.optimizer, job.config.seed)
    )

    def call(folder):
        manager = checkpoints.Checkpoints(folder, keep_last=2, keep_best=1)
        found = manager.restore(abstract, job.identity)
        manager.close()
        if found is None:
            return None
        leaves = jax.tree.map(np.asarray, jax.tree.leaves(found[0]))
        return int(found[0].step), leaves, found[1]

    return call


@pytest.fixture(scope="module")
def expected(run, restore, tmp_path_factory):
    """The contents of each of the two checkpoints."""
    found = {}
    for step in _STEPS:
        folder = tmp_path_factory.mktemp("expected") / "checkpoints"
        shutil.copytree(run / "checkpoints", folder)
        for later in _STEPS:
            if later > step:
                shutil.rmtree(folder / str(later))
        found[step] = restore(folder)
        assert found[step][0] == step
    return found


def _files(folder):
    return [p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.is_file()]


def _try_checkpoints(run, restore, expected, folder, cases):
    """Damages a copy for each (file, kind, seed); counts the checkpoints restored."""
    served = collections.Counter()
    for file, kind, seed in cases:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(run / "checkpoints", folder)
        _damage(folder / file, kind, random.Random(seed))
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            found = restore(folder)
        case = f"{file}, {kind}, seed {seed}"
        assert found is not None, case
        step, leaves, running = found
        for leaf, right in zip(leaves, expected[step][1], strict=True):
            np.testing.assert_array_equal(leaf, right, err_msg=case)
        assert running == expected[step][2], case
        assert said.getvalue() == "", case
        served[step] += 1
    return served


@pytest.mark.slow
def test_some_damages_of_checkpoints(run, restore, expected, tmp_path):
    rng = random.Random(0)
    newest = [file for file in _files(run / "checkpoints") if file.parts[0] == "8"]
    cases = [(rng.choice(newest), rng.choice(list(DAMAGES)), i) for i in range(120)]
    served = _try_checkpoints(run, restore, expected, tmp_path / "c", cases)
    assert served[8] > 20 and served[4] > 20


@pytest.mark.matrix
def test_every_damage_of_every_checkpoint_file(
    run, restore, expected, tmp_path, record_property
):
    files = _files(run / "checkpoints")
    cases = [(file, kind, 1) for file in files for kind in DAMAGES]
    served = _try_checkpoints(run, restore, expected, tmp_path / "c", cases)
    record_property("files", len(files))
    record_property("damages", len(cases))
    record_property("did not matter", served[8])
    record_property("the checkpoint before served", served[4])


def _readers(workdir):
    """Yields functions that read a run directory and the error each may raise."""
    yield lambda: initial.built(initial.read_record(str(workdir))), errors.RunError
    yield lambda: run_record.read(workdir), errors.RunError
    yield lambda: records.load_runs(workdir)[0].metrics(), records.RecordError
    yield lambda: progress.read_standing(workdir), ()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "lease/1.json"])
def test_every_damage_of_a_record(
    run, arguments, restore, expected, tmp_path, capsys, caplog, name
):
    """Readers name the damaged file; training resumes and loses no other line."""
    whole = whole_runs.log(run)
    workdir = tmp_path / "run"
    for seed, kind in enumerate(DAMAGES):
        shutil.rmtree(workdir, ignore_errors=True)
        shutil.copytree(run, workdir)
        _damage(workdir / name, kind, random.Random(seed))
        case = f"{name}, {kind}, seed {seed}"
        for read, accepted in _readers(workdir):
            try:
                read()
            except accepted as error:
                assert str(workdir) in str(error), case
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            code = main.main([*arguments(), f"--workdir={workdir}"])
        said = capsys.readouterr().err
        assert code == 0, f"{case}: {said}"
        step, leaves, _ = restore(workdir / "checkpoints")
        assert step == 8, case
        for leaf, right in zip(leaves, expected[8][1], strict=True):
            np.testing.assert_array_equal(leaf, right, err_msg=case)
        record = whole_runs.record(workdir)
        assert record["status"] == "finished", case
        kept = whole_runs.log(workdir)
        if all(line in kept for line in whole):
            continue
        assert name == "metrics.jsonl", case
        # A changed value is not an invalid line, nor is a missing line.
        if kind not in _IN_PLACE:
            assert "metrics.jsonl" in caplog.text, case
        if kind not in ("delete", "empty", "cut", *_IN_PLACE):
            assert (workdir / "metrics.jsonl.corrupt").exists(), case
