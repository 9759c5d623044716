"""SQuAD 1.1 (https://rajpurkar.github.io/SQuAD-explorer) in T5's format."""

from collections.abc import Iterator
from collections.abc import Sequence
import pathlib
import re

from clinometer.data.tasks import metrics
from clinometer.data.tasks import readers
from clinometer.data.tasks import task as task_lib
from clinometer.data.tasks.task import Example
from clinometer.data.tasks.task import Row
from clinometer.data.tasks.task import Task

_FOLDERS = ("squad/", "SQuAD/", "")


def _read(path: pathlib.Path, split: str) -> Iterator[Row]:
    """Yields a row for each question with its context; its origin is `file#id`."""
    del split  # Each file is of one split.
    for article in Row(readers.json_object(path), str(path)).parts("data"):
        for paragraph in article.parts("paragraphs"):
            context = paragraph.text("context")
            for question in paragraph.parts("qas"):
                origin = f"{path}#{task_lib.shortened(question.text('id'))}"
                yield Row({**question, "context": context}, origin)


def _examples(row: Row) -> list[Example]:
    """Returns the example of a row, with answers spaced like the targets."""
    question, context = _spaced(row.text("question")), _spaced(row.text("context"))
    inputs = f"question: {question} context: {context}"
    if "answers" not in row:
        return [Example(inputs, task_lib.UNLABELED, None)]
    answers = tuple(_spaced(answer.text("text")) for answer in row.parts("answers"))
    if not answers:
        raise row.error("no answer, as in SQuAD 2.0; this task uses version 1.1")
    return [Example(inputs, answers[0], answers)]


def _spaced(text: str) -> str:
    """Returns a text with spaces around all characters but ASCII letters, digits and _.

    As in T5, this includes letters with accents.
    """
    text = re.sub(r"(\W)", r" \1 ", text, flags=re.ASCII)
    return re.sub(r"[ \t\n\f\r]+", " ", text).strip(" ")


def _score(examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
    return metrics.squad([example.answer for example in examples], predictions)


SQUAD = Task(
    name="squad",
    benchmark="squad",
    files={
        "train": task_lib.places(_FOLDERS, "train-v1.1.json"),
        # XQuAD's English part is a subset of the development set with one answer each.
        "validation": task_lib.places(_FOLDERS, "dev-v1.1.json", "xquad.en.json"),
    },
    read=_read,
    examples=_examples,
    labels=(),
    score=_score,
    averaged=("em", "f1"),
    train_examples=87599,
)

TASKS = (SQUAD,)
