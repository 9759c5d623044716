"""The SuperGLUE tasks (https://super.gluebenchmark.com) in T5's format.

WSC is in `winograd`.

Accepted files are SuperGLUE's own JSON lines, the samples of 32 examples of FewGLUE,
exports from Hugging Face, which have numbers as labels, and CL_Benchmark's flattened
lists.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import pathlib
import re

from clinometer.data.tasks import classes
from clinometer.data.tasks import flattened
from clinometer.data.tasks import metrics
from clinometer.data.tasks import readers
from clinometer.data.tasks import task as task_lib
from clinometer.data.tasks import winograd
from clinometer.data.tasks.task import Example
from clinometer.data.tasks.task import Row
from clinometer.data.tasks.task import Task

_FLATTENED = ("clbench/", "CL_Benchmark/", "")
_BOOLEANS = ("False", "True")


def _files(folder: str, flat: str | None = None) -> dict[str, tuple[str, ...]]:
    """Returns the release's file names, followed by copies, the largest first."""
    folders = winograd.SUPERGLUE_FOLDERS
    names = {
        "train": ("train", ["hf_train", "hf_train1000", "train32"], "train"),
        "validation": ("val", ["dev32"], "dev"),
        "test": ("test", ["hf_test"], None),
    }
    files = {}
    for split, (own, copies, flattened_name) in names.items():
        files[split] = task_lib.places(folders, f"{folder}/{own}.jsonl")
        if flat and flattened_name:
            name = f"{flat}/{flattened_name}.json"
            files[split] += task_lib.places(_FLATTENED, name)
        more = [f"{folder}/{copy}.jsonl" for copy in copies]
        files[split] += task_lib.places(folders, *more)
    return files


def _reader(
    form: str | None = None,
    labels: Mapping[str, str] = {},
    rename: Mapping[str, str] = {},
) -> task_lib.Read:
    """Returns a reader of JSON lines and, if `form` is given, flattened lists."""

    def read(path: pathlib.Path, split: str) -> Iterator[Row]:
        del split  # Each file is of one split.
        if form and readers.kind(path) == "json":
            yield from flattened.read(path, form, labels)
            return
        for row in readers.jsonl(path):
            yield Row({rename.get(k, k): v for k, v in row.items()}, row.origin)

    return read


BOOLQ = Task(
    name="boolq",
    benchmark="superglue",
    files=_files("BoolQ", "BoolQA"),
    read=_reader(
        r"question: (?P<question>.*?)\npassage: (?P<passage>.*)",
        rename={"answer": "label"},  # BoolQ's own name, used in exports
    ),
    examples=classes.template("boolq", ["passage", "question"], _BOOLEANS),
    labels=_BOOLEANS,
    score=classes.score(_BOOLEANS, "accuracy"),
    averaged=("accuracy",),
    train_examples=9427,
)

_CB_LABELS = ("entailment", "contradiction", "neutral")
CB = Task(
    name="cb",
    benchmark="superglue",
    files=_files("CB", "CB"),
    read=_reader(flattened.PAIR.format("premise", "hypothesis")),
    examples=classes.template("cb", ["hypothesis", "premise"], _CB_LABELS),
    labels=_CB_LABELS,
    score=classes.score(_CB_LABELS, "f1_macro", "accuracy"),
    averaged=("f1_macro", "accuracy"),
    train_examples=250,
)

_COPA_LABELS = ("choice1", "choice2")
COPA = Task(
    name="copa",
    benchmark="superglue",
    files=_files("COPA", "COPA"),
    read=_reader(
        r'Which sentence is the (?P<question>cause|effect) of "(?P<premise>.*)"\? '
        r"Choose one between A and B\.\nA: (?P<choice1>.*)\nB: (?P<choice2>.*)",
        {"A": "choice1", "B": "choice2"},
    ),
    examples=classes.template(
        "copa", ["choice1", "choice2", "premise", "question"], _COPA_LABELS
    ),
    labels=_COPA_LABELS,
    score=classes.score(_COPA_LABELS, "accuracy"),
    averaged=("accuracy",),
    train_examples=400,
)


# MultiRC: a row is a passage with questions and their answers.


def _read_multirc(path: pathlib.Path, split: str) -> Iterator[Row]:
    del split  # Each file is of one split.
    if readers.kind(path) != "json":
        yield from readers.jsonl(path)
        return
    form = r"paragraph: (?P<text>.*)\nquestion: (?P<question>.*)"
    form += r"\ncandidate answer: (?P<answer>.*)"
    for row in flattened.read(path, form):
        answer = {"text": row["answer"], "label": row["label"]}
        question = {"question": row["question"], "answers": [answer]}
        # The questions have no ids, so they are identified by their texts.
        question["idx"] = row["text"] + "\n" + row["question"]
        yield Row(
            {"idx": None, "passage": {"text": row["text"], "questions": [question]}},
            row.origin,
        )


def _multirc_examples(row: Row) -> Iterator[Example]:
    passage = row.part("passage")
    paragraph = passage.text("text")
    number = row.key("idx") if row.get("idx") is not None else None
    for question in passage.parts("questions"):
        group = (number, question.key("idx"))
        for answer in question.parts("answers"):
            inputs = (
                f"multirc question: {question.text('question')} "
                f"answer: {answer.text('text')} paragraph: {paragraph}"
            )
            inputs = re.sub("</?b>", "", inputs.replace("<br>", " "))
            index = answer.class_index(_BOOLEANS)
            yield Example(inputs, classes.target(index, _BOOLEANS), index, group)


def _multirc_score(
    examples: Sequence[Example], predictions: Sequence[str]
) -> dict[str, float]:
    return metrics.multirc(
        [example.group for example in examples],
        [example.answer for example in examples],
        [metrics.class_index(prediction, _BOOLEANS) for prediction in predictions],
    )


MULTIRC = Task(
    name="multirc",
    benchmark="superglue",
    files=_files("MultiRC", "MultiRC"),
    read=_read_multirc,
    examples=_multirc_examples,
    labels=_BOOLEANS,
    score=_multirc_score,
    averaged=("f1", "em"),
    train_examples=27243,
)


# ReCoRD: a row is a passage with its queries.


def _record_examples(row: Row) -> Iterator[Example]:
    passage = row.part("passage")
    text = passage.text("text")
    # `start` and `end` are the offsets of an entity's first and last character.
    entities = {
        text[entity.index("start") : entity.index("end") + 1]
        for entity in passage.parts("entities")
    }
    shown = re.sub("([.?!\"'])\n@highlight\n", r"\1 ", text)
    shown = shown.replace("\n@highlight\n", ". ")
    number = row.key("idx") if row.get("idx") is not None else None
    end = f"entities: {', '.join(sorted(entities))} passage: {shown}"
    for query in row.parts("qas"):
        inputs = f"record query: {query.text('query')} {end}"
        group = (number, query.key("idx"))
        if "answers" not in query:
            yield Example(inputs, task_lib.UNLABELED, None, group)
            continue
        answers = tuple(sorted({a.text("text") for a in query.parts("answers")}))
        for answer in answers:
            yield Example(inputs, answer, answers, group)


def _record_score(
    examples: Sequence[Example], predictions: Sequence[str]
) -> dict[str, float]:
    return metrics.record(
        [example.group for example in examples],
        [example.answer for example in examples],
        predictions,
    )


RECORD = Task(
    name="record",
    benchmark="superglue",
    files=_files("ReCoRD"),
    read=_reader(),
    examples=_record_examples,
    labels=(),
    score=_record_score,
    averaged=("f1", "em"),
    train_examples=138854,  # one per answer
)

RTE = Task(
    name="superglue_rte",
    benchmark="superglue",
    files=_files("RTE"),
    read=_reader(),
    examples=classes.template(
        "rte", ["hypothesis", "premise"], ("entailment", "not_entailment")
    ),
    labels=("entailment", "not_entailment"),
    score=classes.score(("entailment", "not_entailment"), "accuracy"),
    averaged=("accuracy",),
    train_examples=2490,
)

WIC = Task(
    name="wic",
    benchmark="superglue",
    files=_files("WiC", "WiC"),
    read=_reader(r"word: (?P<word>[^\n]*)\n(?P<sentence1>[^\n]*)\n(?P<sentence2>.*)"),
    examples=classes.template("wic", ["sentence1", "sentence2", "word"], _BOOLEANS),
    labels=_BOOLEANS,
    score=classes.score(_BOOLEANS, "accuracy"),
    averaged=("accuracy",),
    train_examples=5428,
)


TASKS = (BOOLQ, CB, COPA, MULTIRC, RECORD, RTE, WIC, winograd.WSC)
