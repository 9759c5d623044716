"""Rainbow: rows as in FORMATS.md#tasks, and counts of the shared data."""

import collections
import json

import pytest

from clinometer.data.errors import DataError
from clinometer.data.tasks import registry
from clinometer.data.tasks.task import Example

WORKED = [
    (
        "anli",
        {"story_id": "1", "obs1": "a", "obs2": "b", "hyp1": "c", "hyp2": "d"},
        "2",
        "[anli]:\n<obs1>a</obs1>\n<obs2>b</obs2>\n<hyp1>c</hyp1>\n<hyp2>d</hyp2>",
        1,
    ),
    (
        "cosmosqa",
        {"context": "a", "question": "b", **{f"answer{k}": str(k) for k in range(4)}},
        "3",
        "[cosmosqa]:\n<context>a</context>\n<question>b</question>\n"
        "<answer0>0</answer0>\n<answer1>1</answer1>\n<answer2>2</answer2>\n"
        "<answer3>3</answer3>",
        3,
    ),
    (
        "hellaswag",
        {"ctx_a": "x", "ctx": "a", "ending_options": ["b", "c"]},
        "0",
        "[hellaswag]:\n<ctx>a</ctx>\n<ending_options 0>b</ending_options 0>\n"
        "<ending_options 1>c</ending_options 1>",
        0,
    ),
    (
        "physicaliqa",
        {"id": "1", "goal": "a", "sol1": "b", "sol2": "c"},
        "0",
        "[physicaliqa]:\n<goal>a</goal>\n<sol1>b</sol1>\n<sol2>c</sol2>",
        0,
    ),
    (
        "socialiqa",
        {
            "context": "a",
            "question": "b",
            "answerA": "c",
            "answerB": "d",
            "answerC": "e",
        },
        "1",
        "[socialiqa]:\n<context>a</context>\n<question>b</question>\n"
        "<answerA>c</answerA>\n<answerB>d</answerB>\n<answerC>e</answerC>",
        0,
    ),
    (
        "winogrande",
        {"qID": "1", "sentence": "a _ b", "option1": "c", "option2": "d"},
        "2",
        "[winogrande]:\n<sentence>a _ b</sentence>\n<option1>c</option1>\n"
        "<option2>d</option2>",
        1,
    ),
]


@pytest.mark.parametrize(("task", "row", "label", "inputs", "answer"), WORKED)
def test_a_worked_row(read, task, row, label, inputs, answer):
    name = "valid" if task in ("cosmosqa", "hellaswag") else "dev"
    files = {
        f"rainbow/{task}/{name}.jsonl": json.dumps(row) + "\n",
        f"rainbow/{task}/{name}-labels.lst": label + "\n",
    }
    assert read(task, files).examples == [Example(inputs, label, answer)]
    assert answer in range(len(registry.get(task).labels))


@pytest.mark.parametrize(
    ("task", "file", "fields", "label"),
    [
        ("hellaswag", "hellaswag/hellaswag_val.jsonl", {"endings": ["b"]}, 2),
        ("winogrande", "winogrande_1.1/dev.jsonl", {}, "2"),
    ],
)
def test_names_of_the_tasks_own_releases(read, task, file, fields, label):
    row = next(row for name, row, *_ in WORKED if name == task)
    row = {k: v for k, v in row.items() if k != "ending_options"}
    field = "label" if task == "hellaswag" else "answer"
    row = json.dumps({**row, **fields, field: label})
    (example,) = read(task, {file: row}).examples
    assert example.targets == "2"


def test_cosmosqa_as_csv(read):
    text = (
        "id,context,question,answer0,answer1,answer2,answer3,label\n1,a,b,0,1,2,3,3\n"
    )
    (example,) = read("cosmosqa", {"cosmos_qa/valid.csv": text}).examples
    assert (example.inputs, example.targets) == (WORKED[1][3], "3")


@pytest.mark.parametrize("label", ["0", "3", "a", ""])
def test_labels_that_count_from_one(read, label):
    row = json.dumps({**WORKED[0][1], "label": label})
    with pytest.raises(DataError, match="is not valid; accepted are 1, 2"):
        read("anli", {"anli/dev.jsonl": row})


def test_a_bad_list(read):
    row = json.dumps({"ctx": "a", "ending_options": ["b", 3], "label": 0})
    with pytest.raises(DataError, match="'ending_options' is not a list of strings"):
        read("hellaswag", {"hellaswag/valid.jsonl": row})


def test_score():
    task = registry.get("physicaliqa")
    examples = [Example("", "1", 1), Example("", "0", 0)]
    assert task.score(examples, ["1", "0 "]) == {"accuracy": 50}


@pytest.mark.parametrize(
    ("task", "file", "counts"),
    [
        ("cosmosqa", "cosmosqa/valid", {"0": 744, "1": 729, "2": 761, "3": 751}),
        ("physicaliqa", "piqa/dev", {"0": 910, "1": 928}),
        ("physicaliqa", "piqa/test", {"<unk>": 3446}),
        ("socialiqa", "siqa/dev", {"1": 643, "2": 654, "3": 657}),
        ("socialiqa", "siqa/test", {"<unk>": 2059}),
    ],
)
def test_counts_of_the_shared_data(read_shared, task, file, counts):
    loaded = read_shared(task, f"rainbow/{file}.jsonl")
    assert collections.Counter(e.targets for e in loaded.examples) == counts


@pytest.mark.parametrize(
    ("task", "counts"),
    [
        ("anli", {"art/train.jsonl": 3, "art/dev.jsonl": 2}),
        (
            "cosmosqa",
            {"cosmos_qa/train.csv": 2, "cosmos_qa/valid.csv": 2},
        ),
        (
            "hellaswag",
            {f"hellaswag/hellaswag_{name}.jsonl": 2 for name in ("train", "val")},
        ),
        (
            "physicaliqa",
            {
                "piqa/physicaliqa-train-dev.zip/physicaliqa-train-dev/train.jsonl": 5,
                "piqa/physicaliqa-train-dev.zip/physicaliqa-train-dev/dev.jsonl": 5,
            },
        ),
        (
            "winogrande",
            {
                "winogrande/winogrande_1.1/train_xs.jsonl": 4,
                "winogrande/winogrande_1.1/dev.jsonl": 2,
            },
        ),
    ],
)
def test_samples_of_the_raw_distributions(read_shared, task, counts):
    for file, count in counts.items():
        examples = read_shared(task, f"hf_samples/{file}").examples
        assert len(examples) == count
        assert all(example.answer is not None for example in examples)


@pytest.mark.parametrize(
    ("task", "file", "count"),
    [
        ("cosmosqa", "cosmos_qa/test.jsonl", 2),
        ("hellaswag", "hellaswag/hellaswag_test.jsonl", 2),
        ("physicaliqa", "piqa/tests.jsonl", 5),
        ("winogrande", "winogrande/winogrande_1.1/test.jsonl", 2),
    ],
)
def test_samples_without_labels(read_shared, task, file, count):
    examples = read_shared(task, f"hf_samples/{file}").examples
    assert [example.targets for example in examples] == ["<unk>"] * count
