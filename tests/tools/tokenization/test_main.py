"""Tests of `clinometer tokenize`: options, errors and help."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from clinometer.data.corpus import documents as corpus
from clinometer.data.store import token_store
from clinometer.tools.tokenization import main as tokenize_main


def test_command(corpus_file, tmp_path, capsys):
    output = str(tmp_path / "store")
    arguments = [corpus_file, "--output", output, "--vocab-size", "400"]
    assert tokenize_main.main(arguments) == 0
    assert token_store.TokenStore.open(output).vocabulary.size == 400
    assert tokenize_main.main(arguments) == 1
    assert "already contains a token store" in capsys.readouterr().err
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


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("threads", ["0", "-1", "1e999", "2.5", "10000"]),
        ("validation-fraction", ["nan", "1", "-0.1", "many"]),
        ("character-coverage", ["nan", "0", "1.5"]),
        ("document-characters", ["0", "1e30"]),
        ("vocab-size", ["-5", "115", str(2**31), str(2**64), "9" * 5000]),
        ("vocabulary-megabytes", ["nan", "1e999", "-1", "0", "many"]),
    ],
)
def test_numbers_out_of_range_are_named(option, values, corpus_file, capsys):
    output = str(pathlib.Path(corpus_file).parent / "never")
    for value in values:
        with pytest.raises(SystemExit) as stopped:
            tokenize_main.main([corpus_file, "--output", output, f"--{option}={value}"])
        assert stopped.value.code == 2
        assert f"argument --{option}: " in capsys.readouterr().err
    assert not os.path.exists(output)


def test_an_output_that_cannot_be_is_refused_at_once(corpus_file, tmp_path, capsys):
    (tmp_path / "file").write_text("precious")
    for output in (tmp_path / "file/store", tmp_path / ("x" * 300)):
        assert tokenize_main.main([corpus_file, "--output", str(output)]) == 2
        assert "clinometer tokenize: --output: " in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "precious"


def test_names_that_the_terminal_lacks_end_no_run(corpus_file, tmp_path):
    folder = tmp_path / "dé"
    folder.mkdir()
    shutil.copy(corpus_file, folder / "ü.jsonl")
    (folder / "ß.txt").write_bytes(b"\xff")
    with open(os.fsencode(folder) + b"/caf\xe9.jsonl", "wb") as file:
        file.write(b"{")
    program = "import sys; from clinometer.tools.tokenization import main as t; "
    done = subprocess.run(
        [sys.executable, "-c", program + "sys.exit(t.main(sys.argv[1:]))"]
        + [str(folder), "--output", str(tmp_path / "né"), "--vocab-size", "400"],
        env=os.environ
        | {"PYTHONIOENCODING": "ascii"}
        | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"broken record: " in done.stderr
    manifest = token_store.read_manifest(str(tmp_path / "né"))
    assert manifest.broken_records["count"] == 2


@pytest.mark.parametrize(
    ("beside", "options"),
    [
        ("--vocabulary", ["--vocab-size", "400"]),
        ("--vocabulary", ["--vocabulary-megabytes", "1"]),
        ("--vocabulary", ["--character-coverage", "0.9995"]),
        ("--vocabulary", ["--byte-fallback"]),
        ("--validation-source", ["--validation-fraction", "0.1"]),
    ],
)
def test_options_without_effect_are_refused(
    beside, options, corpus_file, tmp_path, capsys
):
    output = tmp_path / "store"
    arguments = [corpus_file, "--output", str(output), beside, corpus_file, *options]
    assert tokenize_main.main(arguments) == 2
    message = capsys.readouterr().err
    assert options[0] in message and beside in message
    assert not output.exists()
