"""A killed tokenisation resumes and gives the same bytes, or starts over."""

import collections
import filecmp
import io
import itertools
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from clinometer.data.errors import DataError
from clinometer.data.store import token_store
from clinometer.data.store import tokenization
from clinometer.data.store import tokenized_units
from clinometer.tests.data import damage

# Tokenises in small units and kills itself at the given call of one function.
_KILLED = """
import os, signal, sys
from clinometer.data import paths
from clinometer.data.store import folder, tokenization, tokenized_units, writer
tokenized_units.UNIT_CHARACTERS = 20000
source, output, module, function, call = sys.argv[1:]
owner = {"paths": paths, "store_writer": writer, "os": os,
         "Folder": folder.Folder}[module]
original, calls = getattr(owner, function), 0
def counted(*args, **kwargs):
    global calls
    calls += 1
    if calls == int(call):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)
setattr(owner, function, counted)
tokenization.tokenize_corpus(
    [source], output,
    options=tokenization.TokenizationOptions(vocab_size=400, validation_fraction=0.1))
"""


def _run(*arguments):
    imports = [path for path in sys.path if path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(imports)}
    return subprocess.run(
        [sys.executable, "-c", _KILLED, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _same(left, right):
    """Returns whether two folders have the same files with the same contents."""
    left, right = pathlib.Path(left), pathlib.Path(right)
    names = sorted(str(p.relative_to(left)) for p in left.rglob("*") if p.is_file())
    others = sorted(str(p.relative_to(right)) for p in right.rglob("*") if p.is_file())
    return names == others and all(
        filecmp.cmp(left / name, right / name, shallow=False) for name in names
    )


@pytest.fixture(scope="module")
def uninterrupted(corpus_file, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole") / "news"
    finished = _run(corpus_file, output, "os", "replace", 0)
    assert finished.returncode == 0, finished.stderr
    return output


@pytest.mark.parametrize(
    ("module", "function", "call"),
    [
        ("os", "replace", 1),  # at the job's description
        ("os", "replace", 2),  # at the vocabulary
        ("paths", "write_bytes", 5),  # between units
        ("os", "replace", 8),  # in the midst of saving a unit
        ("store_writer", "_describe", 1),  # tokens written, no manifest yet
        ("Folder", "finish", 1),  # whole, in the wrong place
    ],
)
def test_killed_and_continued_gives_the_same_bytes(
    corpus_file, uninterrupted, tmp_path, module, function, call
):
    output = tmp_path / "news"
    killed = _run(corpus_file, output, module, function, call)
    assert killed.returncode == -signal.SIGKILL
    assert not output.exists()
    continued = _run(corpus_file, output, "os", "replace", 0)
    assert continued.returncode == 0, continued.stderr
    if (function, call) != ("replace", 1):
        assert "resuming the interrupted run" in continued.stderr
    assert _same(output, uninterrupted)
    assert os.listdir(tmp_path) == ["news"]
    manifest = output / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    assert not _same(output, uninterrupted)


@pytest.fixture(scope="module")
def work(corpus_file, tmp_path_factory):
    """Returns the work folder of a run that was killed just before its end."""
    output = tmp_path_factory.mktemp("killed") / "news"
    _run(corpus_file, output, "Folder", "finish", 1)
    return output.with_name("news.partial")


@pytest.fixture
def go_on(corpus_file, work, tmp_path, monkeypatch):
    """Resumes after a work file was changed; returns the output and the log."""
    monkeypatch.setattr(tokenized_units, "UNIT_CHARACTERS", 20000)
    options = tokenization.TokenizationOptions(vocab_size=400, validation_fraction=0.1)
    numbers = itertools.count()

    def call(file, data):
        output, log = tmp_path / str(next(numbers)) / "news", io.StringIO()
        copy = shutil.copytree(work, f"{output}.partial")
        pathlib.Path(copy, file).write_bytes(data)
        tokenization.tokenize_corpus(
            [corpus_file], str(output), options=options, progress=log
        )
        return output, log.getvalue()

    return call


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("units/000001.unit", lambda data: data[:-9] + b"x" + data[-8:], "redoing"),
        ("units/000000.unit", lambda data: b"", "redoing"),
        ("vocabulary-*.model", lambda data: data[:99] + b"x" + data[100:], "training"),
        ("vocabulary-*.model", lambda data: b"", "training"),
        ("store/train/tokens-00000.array_record", lambda data: data[:1000], ""),
    ],
)
def test_damaged_work_is_done_again(work, go_on, uninterrupted, file, change, said):
    (path,) = work.glob(file)
    output, log = go_on(path.relative_to(work), change(path.read_bytes()))
    assert "resuming the interrupted run" in log and said in log
    assert _same(output, uninterrupted)


def test_another_job_does_not_continue(corpus_file, uninterrupted, tmp_path):
    output = tmp_path / "news"
    _run(corpus_file, output, "paths", "write_bytes", 5)
    log = io.StringIO()
    options = tokenization.TokenizationOptions(vocab_size=350, validation_fraction=0.1)
    tokenization.tokenize_corpus(
        [corpus_file], str(output), options=options, progress=log
    )
    assert "resuming" not in log.getvalue()
    assert token_store.TokenStore.open(str(output)).vocabulary.size == 350


def test_splits_cover_all_documents(uninterrupted, texts):
    splits = token_store.read_manifest(str(uninterrupted)).splits
    counts = {name: entry["documents"] for name, entry in splits.items()}
    assert sum(counts.values()) == len(texts)
    assert 15 <= counts["validation"] <= 70  # 40 expected, standard deviation 6


@pytest.mark.slow
def test_any_damage_to_the_work_is_mended_or_refused(work, go_on, uninterrupted):
    files = sorted(path for path in work.rglob("*") if path.is_file())
    outcomes = collections.Counter()
    for case in range(150):
        rng = np.random.default_rng([0, case])
        path = files[rng.integers(len(files))]
        kind, data = damage.damaged(path.read_bytes(), rng)
        try:
            output, _ = go_on(path.relative_to(work), data)
        except DataError as error:
            message = "its job.json does not describe a"
            assert message in str(error), (case, path, kind)
            outcomes["refused"] += 1
        else:
            assert _same(output, uninterrupted), (case, path, kind)
            outcomes["mended"] += 1
    assert outcomes["mended"] > 130
