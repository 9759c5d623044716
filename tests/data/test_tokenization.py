"""Tokenising: whole, killed and continued, refused, on a full disk."""

import filecmp
import io
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys

import pytest

from clinometer.data import corpus
from clinometer.data import token_store
from clinometer.data import tokenization
from clinometer.data import tokenize_main
from clinometer.data.errors import DataError

_OPTIONS = tokenization.Options(vocab_size=400, validation_fraction=0.1)

# Tokenises in small units and kills itself at the given call of one function.
_KILLED = """
import os, signal, sys
from clinometer.data import files, store_writer, tokenization, tokenized_units
tokenized_units.UNIT_CHARACTERS = 20000
source, output, module, function, call = sys.argv[1:]
owner = {"files": files, "store_writer": store_writer, "tokenization": tokenization,
         "os": os}[module]
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
    options=tokenization.Options(vocab_size=400, validation_fraction=0.1))
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
    """Whether two folders hold the same names and bytes."""
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
        ("files", "write_whole", 5),  # between units
        ("os", "replace", 8),  # in the midst of saving a unit
        ("store_writer", "_describe", 1),  # tokens written, no manifest yet
        ("tokenization", "_put_in_place", 1),  # whole, in the wrong place
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
        assert "continuing the run" in continued.stderr
    assert _same(output, uninterrupted)
    assert os.listdir(tmp_path) == ["news"]
    manifest = output / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    assert not _same(output, uninterrupted)


def test_another_job_does_not_continue(corpus_file, uninterrupted, tmp_path):
    output = tmp_path / "news"
    _run(corpus_file, output, "files", "write_whole", 5)
    log = io.StringIO()
    options = tokenization.Options(vocab_size=350, validation_fraction=0.1)
    tokenization.tokenize_corpus(
        [corpus_file], str(output), options=options, progress=log
    )
    assert "continuing" not in log.getvalue()
    assert token_store.TokenStore.open(str(output)).vocabulary.size == 350


def test_splits_cover_all_documents(uninterrupted, texts):
    splits = token_store.read_manifest(str(uninterrupted)).splits
    counts = {name: entry["documents"] for name, entry in splits.items()}
    assert sum(counts.values()) == len(texts)
    assert 15 <= counts["validation"] <= 70  # 40 expected, standard deviation 6


def test_own_validation_sources(corpus_file, small_vocabulary, tmp_path):
    (tmp_path / "held.txt").write_text("the value of held out text")
    output = tokenization.tokenize_corpus(
        [corpus_file],
        str(tmp_path / "store"),
        validation_sources=[str(tmp_path / "held.txt")],
        vocabulary=small_vocabulary,
    )
    splits = token_store.read_manifest(output).splits
    assert splits["train"]["documents"] == 400
    assert splits["validation"]["documents"] == 1


def _broken_file(tmp_path):
    path = tmp_path / "broken.jsonl"
    lines = ['{"text": "the value"}', "{broken", '{"text": " "}', '{"no": 1}']
    path.write_text("\n".join(lines))
    return path


def test_broken_records_are_shown_and_counted(tmp_path, small_vocabulary):
    path, log = _broken_file(tmp_path), io.StringIO()
    output = tokenization.tokenize_corpus(
        [str(path)],
        str(tmp_path / "store"),
        vocabulary=small_vocabulary,
        options=tokenization.Options(validation_fraction=0),
        progress=log,
    )
    manifest = token_store.read_manifest(output)
    assert manifest.broken_records["count"] == 2
    origins = [origin for origin, _ in manifest.broken_records["first"]]
    assert origins == [f"{path}:2", f"{path}:4"]
    assert manifest.empty_documents == 1
    assert manifest.splits["train"]["documents"] == 1
    assert f"broken record: {path}:2: not valid JSON" in log.getvalue()
    assert "no document is for validation" in log.getvalue()


def test_strict_stops_at_the_first_broken_record(tmp_path, small_vocabulary):
    path = _broken_file(tmp_path)
    with pytest.raises(DataError, match=r"broken\.jsonl:2: not valid JSON"):
        tokenization.tokenize_corpus(
            [str(path)],
            str(tmp_path / "store"),
            vocabulary=small_vocabulary,
            strict=True,
        )
    assert not (tmp_path / "store").exists()


def test_overwriting(corpus_file, small_vocabulary, tmp_path):
    output = str(tmp_path / "store")

    def make(**options):
        tokenization.tokenize_corpus(
            [corpus_file], output, vocabulary=small_vocabulary, **options
        )

    make(name="first")
    with pytest.raises(DataError, match="holds a token store already"):
        make()
    assert token_store.read_manifest(output).name == "first"
    make(name="second", overwrite=True)
    assert token_store.read_manifest(output).name == "second"
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("precious")
    output = str(tmp_path / "other")
    with pytest.raises(DataError, match="is not a token store"):
        make(overwrite=True)
    assert (tmp_path / "other/file").read_text() == "precious"


def test_full_disk_is_a_clear_error_and_loses_nothing(
    corpus_file, small_vocabulary, tmp_path
):
    output = str(tmp_path / "store")
    arguments = {"vocabulary": small_vocabulary, "overwrite": True}
    tokenization.tokenize_corpus([corpus_file], output, name="first", **arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40000, hard))
    try:
        with pytest.raises(DataError, match=r"Could not write .*File too large"):
            tokenization.tokenize_corpus([corpus_file], output, **arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert token_store.TokenStore.open(output).manifest.name == "first"
    tokenization.tokenize_corpus([corpus_file], output, name="next", **arguments)
    assert token_store.TokenStore.open(output).manifest.name == "next"


def test_nothing_to_train_on(tmp_path, small_vocabulary):
    (tmp_path / "a.txt").write_text("  \n")
    with pytest.raises(DataError, match="no text for the train split"):
        tokenization.tokenize_corpus(
            [str(tmp_path)], str(tmp_path / "store"), vocabulary=small_vocabulary
        )
    with pytest.raises(DataError, match="validation_fraction is 1"):
        tokenization.tokenize_corpus(
            [str(tmp_path)],
            str(tmp_path / "store"),
            options=tokenization.Options(validation_fraction=1.0),
        )


def test_long_documents_encode_as_whole_ones(tmp_path, small_vocabulary, texts):
    long = "\n".join(texts)
    (tmp_path / "long.txt").write_text(long)
    output = tokenization.tokenize_corpus(
        [str(tmp_path / "long.txt")],
        str(tmp_path / "store"),
        vocabulary=small_vocabulary,
        options=tokenization.Options(validation_fraction=0),
    )
    split = token_store.TokenStore.open(output).split("train")
    assert len(long) > 3 << 16
    assert split.num_documents == 1
    assert split.read(0, split.num_tokens).tolist() == small_vocabulary.encode(long)


def test_command(corpus_file, tmp_path, capsys):
    output = str(tmp_path / "store")
    arguments = [corpus_file, "--output", output, "--vocab-size", "400"]
    assert tokenize_main.main(arguments) == 0
    assert token_store.TokenStore.open(output).vocabulary.size == 400
    assert tokenize_main.main(arguments) == 1
    assert "holds a token store already" in capsys.readouterr().err
    assert tokenize_main.main([str(tmp_path / "no"), "--output", output + "2"]) == 1
    assert corpus.ACCEPTED in capsys.readouterr().err


def test_help_explains_itself(capsys):
    with pytest.raises(SystemExit) as stopped:
        tokenize_main.main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "--vocab-size" in text
    assert "examples:" in text
    assert json.dumps(text).isascii()
