"""Rainbow's six commonsense tasks (https://github.com/allenai/rainbow).

Labels are digits, as in the label files, which start at 0 in some tasks and at 1 in
others. aNLI is abductive NLI.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import pathlib

from clinometer.data.tasks import classes
from clinometer.data.tasks import readers
from clinometer.data.tasks import task as task_lib
from clinometer.data.tasks.task import Example
from clinometer.data.tasks.task import Row
from clinometer.data.tasks.task import Task

_FILES = {
    "train": ["train.jsonl"],
    "validation": ["dev.jsonl"],
    "test": ["test.jsonl"],
}


def _task(
    name: str,
    fields: Sequence[str],
    labels: Sequence[str],
    train_examples: int,
    folders: Sequence[str],
    files: Mapping[str, Sequence[str]] = _FILES,
    rename: Mapping[str, str] = {},
) -> Task:
    """Returns one of the six tasks.

    Args:
        name: the task's name, which is also in the template.
        fields: the fields in order; a list becomes one numbered field per item.
        labels: the labels in the label file.
        train_examples: size of the release's training set.
        folders: folders of the files, which may be inside `rainbow`.
        files: split -> file names, in order of preference.
        rename: field of another release -> Rainbow's field.
    """
    labels = tuple(labels)
    folders = [root + folder for root in ("rainbow/", "") for folder in folders]

    def read(path: pathlib.Path, split: str) -> Iterator[Row]:
        del split  # Each file is of one split.
        if readers.kind(path) == "csv":
            yield from readers.csv(path, needed=fields, rename=rename)
            return
        renamed = (
            Row({rename.get(k, k): v for k, v in row.items()}, row.origin)
            for row in readers.jsonl(path)
        )
        yield from readers.with_labels(renamed, path)

    def examples(row: Row) -> list[Example]:
        lines = [f"[{name}]:"]
        for field in fields:
            if not isinstance(row.field(field), list):
                lines.append(f"<{field}>{row.text(field)}</{field}>")
                continue
            for index, item in enumerate(row.texts(field)):
                lines.append(f"<{field} {index}>{item}</{field} {index}>")
        answer = None
        if "label" in row:
            label = str(row["label"])
            if label not in labels:
                accepted = ", ".join(labels)
                raise row.error(
                    f"label {row['label']!r} is not valid; accepted are {accepted}"
                )
            answer = labels.index(label)
        return [Example("\n".join(lines), classes.target(answer, labels), answer)]

    return Task(
        name=name,
        benchmark="rainbow",
        files={
            split: task_lib.places(folders, *names) for split, names in files.items()
        },
        read=read,
        examples=examples,
        labels=labels,
        score=classes.score(labels, "accuracy"),
        averaged=("accuracy",),
        train_examples=train_examples,
    )


ANLI = _task(
    "anli",
    ["obs1", "obs2", "hyp1", "hyp2"],
    "12",
    169654,
    ("anli/", "alphanli/", "alphanli-train-dev/", "alphanli-test/", "art/"),
    {**_FILES, "test": ["test.jsonl", "anli.jsonl"]},
)

COSMOSQA = _task(
    "cosmosqa",
    ["context", "question", "answer0", "answer1", "answer2", "answer3"],
    "0123",
    25262,
    ("cosmosqa/", "cosmosqa-data/", "cosmos_qa/"),
    {
        "train": ["train.jsonl", "train.csv"],
        "validation": ["valid.jsonl", "valid.csv"],
        "test": ["test.jsonl"],
    },
)

HELLASWAG = _task(
    "hellaswag",
    ["ctx", "ending_options"],
    "0123",
    39905,
    ("hellaswag/", "hellaswag-train-dev/", "hellaswag-test/"),
    {
        "train": ["train.jsonl", "hellaswag_train.jsonl"],
        "validation": ["valid.jsonl", "hellaswag_val.jsonl"],
        "test": ["test.jsonl", "hellaswag.jsonl", "hellaswag_test.jsonl"],
    },
    rename={"endings": "ending_options"},  # HellaSwag's own name
)

PHYSICALIQA = _task(
    "physicaliqa",
    ["goal", "sol1", "sol2"],
    "01",
    16113,
    ("physicaliqa/", "physicaliqa-train-dev/", "physicaliqa-test/", "piqa/"),
    {
        "train": ["train.jsonl"],
        "validation": ["dev.jsonl", "valid.jsonl"],  # the second is PIQA's own
        "test": ["test.jsonl", "physicaliqa.jsonl", "tests.jsonl"],
    },
)

SOCIALIQA = _task(
    "socialiqa",
    ["context", "question", "answerA", "answerB", "answerC"],
    "123",
    33410,
    ("socialiqa/", "socialiqa-train-dev/", "socialiqa-test/", "siqa/"),
    {**_FILES, "test": ["test.jsonl", "socialiqa.jsonl"]},
)

WINOGRANDE = _task(
    "winogrande",
    ["sentence", "option1", "option2"],
    "12",
    40398,
    ("winogrande_1.1/", "winogrande/", "winogrande/winogrande_1.1/"),
    {**_FILES, "train": ["train_xl.jsonl", "train_xs.jsonl"]},
    rename={"answer": "label"},  # WinoGrande's own name
)

TASKS = (ANLI, COSMOSQA, HELLASWAG, PHYSICALIQA, SOCIALIQA, WINOGRANDE)
