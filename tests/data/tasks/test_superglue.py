"""SuperGLUE: rows as in FORMATS.md#tasks, and counts of the shared data."""

import collections
import json

import pytest

from clinometer.data.errors import DataError
from clinometer.data.tasks import registry
from clinometer.data.tasks.task import Example

PASSAGE = {
    "text": "Tom ran.<br>He <b>fell</b>.",
    "questions": [
        {
            "question": "Who ran?",
            "idx": 7,
            "answers": [
                {"text": "Tom", "idx": 0, "label": 1},
                {"text": "Ann", "idx": 1, "label": 0},
            ],
        }
    ],
}
NEWS = {
    "idx": 3,
    "passage": {
        # 0123456789...
        "text": "Bob met Ann in Rome!\n@highlight\nBob ran\n@highlight\nAnn sat",
        "entities": [
            {"start": 8, "end": 10},
            {"start": 0, "end": 2},
            {"start": 15, "end": 18},
            {"start": 32, "end": 34},
        ],
    },
    "qas": [
        {
            "query": "Later @placeholder left.",
            "idx": 5,
            "answers": [
                {"start": 8, "end": 10, "text": "Ann"},
                {"start": 0, "end": 2, "text": "Bob"},
                {"start": 32, "end": 34, "text": "Bob"},
            ],
        }
    ],
}
RECORD = (
    "record query: Later @placeholder left. entities: Ann, Bob, Rome passage: "
    "Bob met Ann in Rome! Bob ran. Ann sat"
)

WORKED = [
    (
        "boolq",
        "BoolQ/val.jsonl",
        {"question": "is it", "passage": "Title -- It is.", "label": True, "idx": 0},
        [Example("boolq passage: Title -- It is. question: is it", "True", 1)],
    ),
    (
        "cb",
        "SuperGLUE/CB/val.jsonl",
        {"premise": "Tom ran.", "hypothesis": "Tom sat", "label": "contradiction"},
        [Example("cb hypothesis: Tom sat premise: Tom ran.", "contradiction", 1)],
    ),
    (
        "copa",
        "super_glue/COPA/val.jsonl",
        {
            "premise": "It rained.",
            "choice1": "I got wet.",
            "choice2": "I ate.",
            "question": "effect",
            "label": 0,
        },
        [
            Example(
                "copa choice1: I got wet. choice2: I ate. premise: It rained. "
                "question: effect",
                "choice1",
                0,
            )
        ],
    ),
    (
        "multirc",
        "MultiRC/val.jsonl",
        {"idx": 2, "version": 1.1, "passage": PASSAGE},
        [
            Example(
                f"multirc question: Who ran? answer: {answer} paragraph: "
                "Tom ran. He fell.",
                target,
                label,
                (2, 7),
            )
            for answer, target, label in [("Tom", "True", 1), ("Ann", "False", 0)]
        ],
    ),
    (
        "record",
        "ReCoRD/val.jsonl",
        NEWS,
        [Example(RECORD, answer, ("Ann", "Bob"), (3, 5)) for answer in ("Ann", "Bob")],
    ),
    (
        "superglue_rte",
        "superglue/RTE/val.jsonl",
        {"premise": "Tom ran.", "hypothesis": "Tom sat.", "label": "not_entailment"},
        [Example("rte hypothesis: Tom sat. premise: Tom ran.", "not_entailment", 1)],
    ),
    (
        "wic",
        "WiC/val.jsonl",
        {
            "word": "run",
            "sentence1": "I run.",
            "sentence2": "A run.",
            "idx": 0,
            "label": False,
            "start1": 2,
            "end1": 5,
            "start2": 2,
            "end2": 5,
        },
        [Example("wic sentence1: I run. sentence2: A run. word: run", "False", 0)],
    ),
]


@pytest.mark.parametrize(("task", "file", "row", "expected"), WORKED)
def test_a_worked_row(read, task, file, row, expected):
    assert read(task, {file: json.dumps(row) + "\n"}).examples == expected


def test_a_query_without_answers_is_one_example(read):
    query = {k: v for k, v in NEWS["qas"][0].items() if k != "answers"}
    row = json.dumps({**NEWS, "qas": [query]})
    (example,) = read("record", {"ReCoRD/test.jsonl": row}, "test").examples
    assert example == Example(RECORD, "<unk>", None, (3, 5))


@pytest.mark.parametrize("end", ".?!\"'")
def test_a_highlight_after_the_end_of_a_sentence(read, end):
    passage = {"text": f"He ran{end}\n@highlight\nShe sat", "entities": []}
    row = json.dumps({**NEWS, "passage": passage})
    example = read("record", {"ReCoRD/val.jsonl": row}).examples[0]
    assert example.inputs.endswith(f" passage: He ran{end} She sat")


def test_labels_of_exports_are_numbers_in_the_same_order(read):
    rows = "".join(
        json.dumps({"premise": "p", "hypothesis": "h", "label": k}) + "\n"
        for k in range(3)
    )
    examples = read("cb", {"CB/hf_train.jsonl": rows}, "train").examples
    assert [e.targets for e in examples] == ["entailment", "contradiction", "neutral"]
    row = json.dumps({"question": "q", "answer": True, "passage": "p"})
    (example,) = read("boolq", {"BoolQ/hf_train1000.jsonl": row}, "train").examples
    assert example.targets == "True"


def test_multirc_scores_answers_and_whole_questions():
    task = registry.get("multirc")
    examples = [
        Example("", "", answer, group)
        for answer, group in [(1, "a"), (0, "a"), (1, "b"), (1, "b")]
    ]
    found = task.score(examples, ["True", "False", "True", "yes"])
    # An invalid prediction counts as the wrong class, False: 2 hits of 2 and of 3.
    assert found["f1"] == pytest.approx(100 * 2 * 2 / (2 + 3))
    assert found["em"] == 50


def test_record_counts_a_query_once():
    task = registry.get("record")
    examples = [
        Example("", "Ann", ("Ann", "Bob Lee"), 1),
        Example("", "Bob Lee", ("Ann", "Bob Lee"), 1),
        Example("", "Rome", ("Rome",), 2),
    ]
    found = task.score(examples, ["Bob", "Bob", "the Rome"])
    assert found["em"] == 50
    assert found["f1"] == pytest.approx(100 * (2 / 3 + 1) / 2)


@pytest.mark.parametrize(
    ("task", "file", "row", "reason"),
    [
        ("boolq", "BoolQ/val.jsonl", {"question": "q"}, "jsonl:1: no field 'passage'"),
        (
            "cb",
            "CB/val.jsonl",
            {"premise": "p", "hypothesis": "h", "label": "no"},
            "label 'no' is not valid; accepted are entailment, contradiction",
        ),
        (
            "multirc",
            "MultiRC/val.jsonl",
            {"passage": "p"},
            "field 'passage' has str instead of a JSON object",
        ),
        (
            "multirc",
            "MultiRC/val.jsonl",
            {"passage": {"text": "p", "questions": {}}},
            "field 'questions' is not a list",
        ),
        (
            "wic",
            "WiC/val.jsonl",
            {"word": 3, "sentence1": "s", "sentence2": "t"},
            "field 'word' is int, not a string",
        ),
    ],
)
def test_a_bad_row(read, task, file, row, reason):
    with pytest.raises(DataError, match=reason):
        read(task, {file: json.dumps(row)})


# Counts of the real data's README, by file.
COUNTS = [
    ("boolq", "superglue/BoolQ/val.jsonl", {1: 2033, 0: 1237}),
    ("boolq", "superglue/BoolQ/hf_train1000.jsonl", {1: 624, 0: 376}),
    ("boolq", "clbench/BoolQA/train.json", {1: 1241, 0: 759}),
    ("cb", "superglue/CB/val.jsonl", {1: 28, 0: 23, 2: 5}),
    ("cb", "superglue/CB/hf_train.jsonl", {0: 115, 1: 119, 2: 16}),
    ("cb", "superglue/CB/hf_test.jsonl", {None: 250}),
    ("cb", "clbench/CB/train.json", {0: 115, 1: 119, 2: 16}),
    ("cb", "clbench/CB/dev.json", {1: 28, 0: 23, 2: 5}),
    ("copa", "superglue/COPA/val.jsonl", {0: 55, 1: 45}),
    ("copa", "superglue/COPA/hf_train.jsonl", {0: 195, 1: 205}),
    ("copa", "superglue/COPA/hf_test.jsonl", {None: 500}),
    ("copa", "clbench/COPA/train.json", {0: 195, 1: 205}),
    ("copa", "clbench/COPA/dev.json", {0: 55, 1: 45}),
    ("multirc", "superglue/MultiRC/val.jsonl", {0: 2773, 1: 2075}),
    ("multirc", "clbench/MultiRC/train.json", {0: 1101, 1: 899}),
    ("superglue_rte", "superglue/RTE/val.jsonl", {0: 146, 1: 131}),
    ("superglue_rte", "superglue/RTE/hf_train1000.jsonl", {0: 501, 1: 499}),
    ("superglue_rte", "superglue/RTE/hf_test.jsonl", {None: 3000}),
    ("wic", "superglue/WiC/val.jsonl", {0: 319, 1: 319}),
    ("wic", "clbench/WiC/train.json", {0: 1013, 1: 987}),
    ("wic", "clbench/WiC/dev.json", {0: 319, 1: 319}),
]
FOLDERS = {
    "boolq": "BoolQ",
    "cb": "CB",
    "copa": "COPA",
    "multirc": "MultiRC",
    "record": "ReCoRD",
    "superglue_rte": "RTE",
    "wic": "WiC",
    "wsc": "WSC",
}


@pytest.mark.parametrize(("task", "file", "counts"), COUNTS)
def test_counts_of_the_shared_data(read_shared, task, file, counts):
    loaded = read_shared(task, file)
    assert collections.Counter(e.answer for e in loaded.examples) == counts
    assert not loaded.dropped


@pytest.mark.parametrize("task", FOLDERS)
def test_samples_of_32(read_shared, shared_dir, task):
    folder = f"superglue/{FOLDERS[task]}"
    for name in ("train32", "dev32"):
        if (shared_dir / "data" / folder / f"{name}.jsonl").exists():  # CB: only some
            assert read_shared(task, f"{folder}/{name}.jsonl").rows == 32


def test_multirc_of_the_shared_data(read_shared):
    loaded = read_shared("multirc", "superglue/MultiRC/val.jsonl")
    assert loaded.rows == 83
    assert len({example.group for example in loaded.examples}) == 953
    for name, answers in [("train32", 154), ("dev32", 167)]:
        loaded = read_shared("multirc", f"superglue/MultiRC/{name}.jsonl")
        assert len(loaded.examples) == answers
        assert len({example.group for example in loaded.examples}) == 32


def test_record_of_the_shared_data(read_shared):
    for name in ("train32", "dev32"):
        loaded = read_shared("record", f"superglue/ReCoRD/{name}.jsonl")
        assert len({example.group for example in loaded.examples}) == 32
        for example in loaded.examples:
            assert example.targets in example.answer
            assert example.targets in example.inputs
            assert "@highlight" not in example.inputs


@pytest.mark.parametrize("task", FOLDERS)
def test_samples_of_the_raw_distributions(read_shared, task):
    for name, rows in [("train", 3), ("val", 2), ("test", 1)]:
        file = f"hf_samples/super_glue/{FOLDERS[task]}/{name}.jsonl"
        one = task == "multirc"  # One passage per file.
        assert read_shared(task, file).rows == (1 if one else rows)
