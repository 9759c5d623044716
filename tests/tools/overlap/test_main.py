"""Tests of `clinometer overlap`, with the corpus as text and as a token store."""

import json
import sys

import pytest

from clinometer.data.pretraining import overlap
from clinometer.tools import cli
from clinometer.tools.overlap import main as overlap_main


@pytest.fixture
def folder(tmp_path, texts):
    """Writes RTE's validation set with texts that are partly from the corpus."""
    words = texts[3].split()
    rows = [
        (" ".join(words[:20]), " ".join(words[20:40]), "entailment"),
        (" ".join(words[:13]), " ".join(f"new{k}" for k in range(15)), "entailment"),
        (" ".join(reversed(words[:20])), "a short one", "not_entailment"),
    ]
    lines = ["index\tsentence1\tsentence2\tlabel"]
    lines += ["\t".join([str(k), *row]) for k, row in enumerate(rows)]
    (tmp_path / "glue/RTE").mkdir(parents=True)
    (tmp_path / "glue/RTE/dev.tsv").write_text("\n".join(lines) + "\n")
    return str(tmp_path)


EXPECTED = {
    "name": "rte/validation",
    "rows": 3,
    "rows_short": 0,
    "rows_any": 2,
    "rows_most": 1,
    "ngrams": 8 + 8 + 1 + 3 + 8,
    "ngrams_found": 8 + 8 + 1,
}


def _run(*arguments):
    return overlap_main.main([*arguments])


@pytest.mark.parametrize("kind", ["store", "text"])
def test_the_command(kind, store, corpus_file, folder, capsys, texts):
    corpus = store.path if kind == "store" else corpus_file
    arguments = [corpus, "--tasks", "rte", "--data", folder]
    if kind == "store":  # The document is in one of its splits.
        in_train = texts[3] in set(overlap.store_documents(store, "train"))
        arguments += ["--corpus-split", "train" if in_train else "validation"]
    assert _run(*arguments, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 13 and found["corpus"] == [corpus]
    assert found["sets"] == [EXPECTED]
    if kind == "text":
        assert found["documents"] == 400
        assert found["words"] == sum(len(text.split()) for text in texts)
    assert _run(*arguments) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == [
        "set", "rows", "short", "any", "most", "13-grams", "found",
    ]  # fmt: skip
    assert table[1].split() == [
        "rte/validation", "3", "0", "2", "(66.67", "%)", "1", "(33.33", "%)", "28",
        "60.71", "%",
    ]  # fmt: skip


def test_shorter_ngrams_find_more(corpus_file, folder, capsys):
    assert (
        _run(corpus_file, "--tasks", "rte", "--data", folder, "--ngram", "8", "--json")
        == 0
    )
    found = json.loads(capsys.readouterr().out)["sets"][0]
    assert found["ngrams"] == 13 * 2 + 6 + 8 + 13
    assert found["ngrams_found"] >= 13 * 2 + 6


def test_sets_without_files_are_named(corpus_file, folder, capsys):
    arguments = ["--tasks", "rte,cola,squad", "--data", folder]
    assert _run(corpus_file, *arguments, "--splits", "validation,dev", "--json") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["sets"] == [EXPECTED]
    missing = ["cola/validation", "squad/validation"]
    missing += [f"{name}/dev" for name in ("rte", "cola", "squad")]
    assert sorted(found["missing"]) == sorted(missing)
    for name in missing:
        assert f"overlap: skipped {name}: " in captured.err
    assert "looked for" in found["missing"]["cola/validation"]


def test_deep_records_have_their_texts():
    record = "a"
    for _ in range(5000):
        record = [record, {"k": "b"}]
    assert [*overlap_main._texts(record)] == ["a"] + 5000 * ["b"]


def test_broken_records_are_reported(tmp_path, folder, capsys):
    (tmp_path / "corpus.jsonl").write_text('{"text": "some words"}\nnot json\n')
    assert (
        _run(
            str(tmp_path / "corpus.jsonl"), "--tasks", "rte", "--data", folder, "--json"
        )
        == 0
    )
    captured = capsys.readouterr()
    assert "skipped" in captured.err and "corpus.jsonl:2" in captured.err
    assert json.loads(captured.out)["documents"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "rteee"], "did you mean 'rte'"),
        (["--tasks", "rte", "--splits", "dev"], "no split 'dev'"),
        (["--tasks", "rte", "--splits", "test"], "looked for"),
        (["--tasks", "rte", "--ngram", "0"], "n-gram length is 0"),
        (["--tasks", "rte", "--ngram", "90"], "No row"),
    ],
)
def test_bad_arguments(arguments, message, corpus_file, folder, capsys):
    assert _run(corpus_file, "--data", folder, *arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("clinometer overlap: ") and message in error


def test_bad_corpora(store, corpus_file, folder, capsys):
    rest = ["--tasks", "rte", "--data", folder]
    for corpus, message in (
        (["/nowhere"], "does not exist"),
        ([store.path, corpus_file], "must be the only corpus given"),
    ):
        assert _run(*corpus, *rest) == 1
        assert message in capsys.readouterr().err
    assert _run(store.path, *rest, "--corpus-split", "dev") == 1
    assert "no split 'dev'" in capsys.readouterr().err
    assert _run(corpus_file, "--tasks", "rte") == 1
    assert "give it with --data" in capsys.readouterr().err


def test_it_is_a_subcommand():
    assert cli.SUBCOMMANDS["overlap"].module == overlap_main.__name__
    assert overlap_main.__name__ in sys.modules
