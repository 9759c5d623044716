"""Files are found in order of preference, and dropped rows are counted."""

import dataclasses
import gzip
import logging
import re

import pytest

from clinometer.data.errors import DataError
from clinometer.data.tasks import load
from clinometer.data.tasks import readers
from clinometer.data.tasks import registry
from clinometer.data.tasks.task import Example

COLA = "gj04\t1\t\tThe boy ran.\n"


def test_the_release_itself_is_preferred(read):
    files = {
        "CoLA/tokenized_dev.tsv": "a b\t1\n",
        "CoLA/tokenized_test_idd.tsv": "x\ty\nc\t0\n",
    }
    both = read("cola", files)
    assert [e.inputs for e in both.examples] == [
        "cola sentence: a b",
        "cola sentence: c",
    ]
    files["glue_data/CoLA/dev.tsv"] = COLA
    (own,) = read("cola", files).examples
    assert own.inputs == "cola sentence: The boy ran."


def test_files_may_be_compressed(read):
    row = '{"obs1": "a", "obs2": "b", "hyp1": "c", "hyp2": "d"}\n'
    files = {
        "anli/dev.jsonl.gz": gzip.compress(row.encode()),
        "anli/dev-labels.lst.gz": gzip.compress(b"2\n"),
    }
    assert read("anli", files).examples[0].targets == "2"


def test_of_a_brace_all_must_be_there(read):
    with pytest.raises(DataError, match="No validation data for task 'cola'"):
        read("cola", {"CoLA/tokenized_dev.tsv": "a b\t1\n"})


def test_missing_files_are_listed(tmp_path):
    cola = registry.get("cola")
    with pytest.raises(DataError) as caught:
        load.load(cola, tmp_path, "train")
    for place in cola.files["train"]:
        assert place in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(DataError, match="which is not a folder"):
        load.load(cola, tmp_path / "none", "train")
    with pytest.raises(
        DataError, match="no split 'dev'; accepted are train, validation"
    ):
        load.load(cola, tmp_path, "dev")


def test_a_set_to_learn_from_must_have_labels(read):
    files = {"CoLA/test.tsv": "index\tsentence\n0\tThe boy ran.\n"}
    (example,) = read("cola", files, "test").examples
    assert (example.targets, example.answer) == ("<unk>", None)
    files = {"CoLA/dev.tsv": files["CoLA/test.tsv"]}
    with pytest.raises(
        DataError, match="CoLA/dev.tsv:2: no label, which validation data"
    ):
        read("cola", files)


def test_what_is_dropped_is_counted_and_said(read, tmp_path, caplog):
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    text = header + "1\t2\t3\tWho?\tWhich?\t0\n4\t5\t6\tWhat?\n7\t8\n"
    loaded = read("qqp", {"QQP/train.tsv": text}, "train")
    assert len(loaded.examples) == 1
    assert loaded.rows == 3
    assert loaded.dropped == {"a row without 6 columns": 2}
    with caplog.at_level(logging.WARNING):
        load.load(registry.get("qqp"), tmp_path, "train")
    assert "qqp train: 1 examples of 3 rows; dropped 2: a row without" in caplog.text


def broken(**parts):
    """Returns a task with an incorrect function."""
    whole = registry.get("acceptability")
    return dataclasses.replace(whole, **parts)


def fails(row):
    raise KeyError("nobody expected it")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"read": lambda path, split: [{"label": 1}]},
            "`read` of task 'acceptability' yields dict; accepted are `Row`",
        ),
        (
            {"examples": lambda row: [("in", "out", 1)]},
            "validation.jsonl:1: `examples` of task 'acceptability' yields tuple",
        ),
        (
            {"examples": lambda row: [Example("in", 1, 1)]},
            "validation.jsonl:1: the example's targets are int, not a string",
        ),
        (
            {"examples": lambda row: [Example("\ud800", "out", 1)]},
            "validation.jsonl:1: the example's inputs are not valid Unicode",
        ),
        (
            {"examples": lambda row: [Example("in", "out", 1, group=[3])]},
            "validation.jsonl:1: the example's group is not hashable",
        ),
        (
            {"read": lambda path, split: (path / "x").read_text()},
            "validation.jsonl/x: Not a directory",
        ),
    ],
)
def test_a_task_s_own_code_gives_what_it_should_not(tmp_path, parts, message):
    (tmp_path / "acceptability").mkdir()
    path = tmp_path / "acceptability/validation.jsonl"
    path.write_text('{"sentence": "a", "label": 1}\n')
    with pytest.raises(DataError, match=message):
        load.read(broken(**parts), tmp_path, "validation")


def test_what_nobody_expected_keeps_its_traceback_and_says_where(tmp_path):
    (tmp_path / "acceptability").mkdir()
    path = tmp_path / "acceptability/validation.jsonl"
    path.write_text('{"sentence": "a", "label": 1}\n')

    def read(path, split):
        yield from readers.jsonl(path)
        fails(None)

    for parts, note in (
        ({"examples": fails}, "was making examples of .*validation.jsonl:1"),
        ({"read": read}, "was reading .*validation.jsonl, after .*jsonl:1"),
    ):
        with pytest.raises(KeyError, match="nobody expected it") as caught:
            load.read(broken(**parts), tmp_path, "validation")
        assert re.search(note, caught.value.__notes__[0])
        assert caught.traceback[-1].name == "fails"


def test_an_empty_file_is_an_error(read):
    with pytest.raises(DataError, match="cola validation: no examples; 0 examples"):
        read("cola", {"CoLA/dev.tsv": ""})


# Numbers of training and validation examples in the shared data; None where it has no
# training set.
SHARED = {
    "cola": (8551, 1043),
    "sst2": (6920, 1821),
    "mrpc": (3668, 408),
    "stsb": (5749, 1500),
    "qqp": (23496, 7600),
    "mnli": (3000, 7469),
    "qnli": (None, 5463),
    "rte": (2490, 277),
    "wnli": (None, 71),
    "boolq": (2000, 3270),
    "cb": (250, 56),
    "copa": (400, 100),
    "multirc": (2000, 4848),
    "record": (44, 46),
    "superglue_rte": (1000, 277),
    "wic": (2000, 638),
    "wsc": (32, 104),
    "squad": (None, 1190),
    "wiki_toxicity": (267, 25),
    "cosmosqa": (None, 2985),
    "physicaliqa": (None, 1838),
    "socialiqa": (None, 1954),
}


@pytest.mark.parametrize("name", SHARED)
def test_the_shared_folder_as_a_whole(shared_dir, name):
    task = registry.get(name)
    for split, count in zip(("train", "validation"), SHARED[name]):
        if count is None:
            with pytest.raises(DataError):
                load.load(task, shared_dir / "data", split)
        else:
            assert len(load.load(task, shared_dir / "data", split)) == count
