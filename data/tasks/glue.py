"""The eight GLUE tasks (https://gluebenchmark.com) in T5's format.

Accepted files are GLUE's own TSV files, older releases of the same tasks (tokenised
CoLA and SST, Microsoft's MRPC, STS benchmark, MultiNLI 1.0) and CL_Benchmark's
flattened lists.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import pathlib

import numpy as np

from clinometer.data.corpus import compressed
from clinometer.data.tasks import classes
from clinometer.data.tasks import flattened
from clinometer.data.tasks import metrics
from clinometer.data.tasks import readers
from clinometer.data.tasks import scores
from clinometer.data.tasks import task as task_lib
from clinometer.data.tasks import terms
from clinometer.data.tasks.task import Dropped
from clinometer.data.tasks.task import Example
from clinometer.data.tasks.task import Row
from clinometer.data.tasks.task import Task

_FOLDERS = ("glue/", "glue_data/", "GLUE/", "")
_FLATTENED = ("clbench/", "CL_Benchmark/", "")
_ENTAILMENT = ("entailment", "not_entailment")
_NLI = ("entailment", "neutral", "contradiction")


def _files(
    folder: str, *, flat: bool = False, **more: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Returns GLUE's file names, followed by other releases and flattened lists."""
    files = {}
    for split, name in [("train", "train"), ("validation", "dev"), ("test", "test")]:
        names = [f"{folder}/{name}.tsv", *more.get(split, ())]
        files[split] = task_lib.places(_FOLDERS, *names)
        if flat and split != "test":
            files[split] += task_lib.places(_FLATTENED, f"{folder}/{name}.json")
    return files


def _reader(
    form: str | None = None,
    labels: Mapping[str, str] = {},
    **options,
) -> task_lib.Read:
    """Returns a reader of TSV files and, if `form` is given, flattened lists."""

    def read(path: pathlib.Path, split: str) -> Iterator[Row | Dropped]:
        del split  # Each file is of one split.
        if form and readers.kind(path) == "json":
            return flattened.read(path, form, labels)
        return readers.tsv(path, **options)

    return read


# CoLA: only the test file has a header.
_COLA_LABELS = ("unacceptable", "acceptable")
COLA = Task(
    name="cola",
    benchmark="glue",
    files=_files(
        "CoLA",
        train=["CoLA/tokenized_train.tsv", "cola_public/raw/in_domain_train.tsv"],
        validation=[
            # GLUE's 1,043 sentences are both of CoLA's development sets together.
            "CoLA/tokenized_{dev,test_idd}.tsv",
            "cola_public/raw/{in,out_of}_domain_dev.tsv",
        ],
    ),
    read=_reader(
        needed=["sentence"],
        rename={"x": "sentence", "y": "label"},
        headerless={
            4: ["source", "label", "authors_mark", "sentence"],
            2: ["sentence", "label"],
        },
    ),
    examples=classes.template("cola", ["sentence"], _COLA_LABELS),
    labels=_COLA_LABELS,
    score=classes.score(_COLA_LABELS, "matthews"),
    averaged=("matthews",),
    train_examples=8551,
)

_SST2_LABELS = ("negative", "positive")
SST2 = Task(
    name="sst2",
    benchmark="glue",
    files=_files(
        "SST-2",
        flat=True,
        train=["SST-2/sentences_train.tsv"],
        validation=["SST-2/sentences_dev.tsv"],
    ),
    read=_reader(
        r"Text: (?P<sentence>.*)",
        {"Bad": "negative", "Good": "positive"},
        needed=["sentence"],
        headerless={2: ["label", "sentence"]},
    ),
    examples=classes.template("sst2", ["sentence"], _SST2_LABELS),
    labels=_SST2_LABELS,
    score=classes.score(_SST2_LABELS, "accuracy"),
    averaged=("accuracy",),
    train_examples=67349,
)


# MRPC: Microsoft's training file includes GLUE's development set, which a list of pairs
# of ids identifies. Without the list, every tenth row is held out, 408 as in GLUE.
_MRPC_LABELS = ("not_equivalent", "equivalent")
_MRPC_COLUMNS = {
    "Quality": "label",
    "BOMQuality": "label",  # a byte order mark spelled out, seen in a copy
    "#1 String": "sentence1",
    "#2 String": "sentence2",
}
_MRPC_HOLD_OUT = 10


def _read_mrpc(path: pathlib.Path, split: str) -> Iterator[Row | Dropped]:
    rows = readers.tsv(path, needed=["sentence1", "sentence2"], rename=_MRPC_COLUMNS)
    if compressed.strip_suffix(path.name) not in ("msr_paraphrase_train.txt", "train"):
        yield from rows
        return
    ids = readers.beside(path, "dev_ids.tsv") or readers.beside(path, "dev_ids")
    pairs = ids and {tuple(line.split("\t")) for _, line in readers.lines(ids) if line}
    for number, row in enumerate(rows):
        if pairs is None:
            held_out = number % _MRPC_HOLD_OUT == 0
        else:
            held_out = (row.text("#1 ID"), row.text("#2 ID")) in pairs
        if held_out == (split == "validation"):
            yield row


MRPC = Task(
    name="mrpc",
    benchmark="glue",
    files=_files(
        "MRPC",
        train=["MRPC/msr_paraphrase_train.txt", "MRPC/train"],
        validation=["MRPC/msr_paraphrase_train.txt", "MRPC/train"],
        test=["MRPC/msr_paraphrase_test.txt", "MRPC/test"],
    ),
    read=_read_mrpc,
    examples=classes.template("mrpc", ["sentence1", "sentence2"], _MRPC_LABELS),
    labels=_MRPC_LABELS,
    score=classes.score(_MRPC_LABELS, "f1", "accuracy"),
    averaged=("f1", "accuracy"),
    train_examples=3668,
)

_QQP_LABELS = ("not_duplicate", "duplicate")
QQP = Task(
    name="qqp",
    benchmark="glue",
    files=_files(
        "QQP",
        flat=True,
        # A subset of GLUE's training set, despite its name.
        train=["QQP/resplit_dev_23k.tsv"],
    ),
    read=_reader(
        r"first sentence: (?P<question1>.*)\nsecond sentence: (?P<question2>.*)",
        {"False": "not_duplicate", "True": "duplicate"},
        needed=["question1", "question2"],
        rename={"is_duplicate": "label"},
        headerless={6: ["id", "qid1", "qid2", "question1", "question2", "label"]},
        drop_malformed=True,  # The official training file has malformed rows.
    ),
    examples=classes.template("qqp", ["question1", "question2"], _QQP_LABELS),
    labels=_QQP_LABELS,
    score=classes.score(_QQP_LABELS, "f1", "accuracy"),
    averaged=("f1", "accuracy"),
    train_examples=363849,
)


# STS-B: the target is a number, as one of 26 texts.
def _stsb_examples(row: Row) -> list[Example]:
    """Returns the example of a row; as in T5, the answer is the rounded score."""
    inputs = f"stsb sentence1: {row.text('sentence1')} sentence2: "
    inputs += row.text("sentence2")
    score = row.number("score")
    if score is None:
        return [Example(inputs, task_lib.UNLABELED, None)]
    if not 0 <= score <= 5:
        raise row.error(f"score {score} is not in [0, 5]")
    target = f"{round(score * 5) / 5:.1f}"
    return [Example(inputs, target, float(target))]


def _stsb_score(
    examples: Sequence[Example], predictions: Sequence[str]
) -> dict[str, float]:
    answers = [example.answer for example in examples]
    return {
        "pearson": metrics.pearson(answers, predictions),
        "spearman": metrics.spearman(answers, predictions),
    }


_STS_COLUMNS = ["genre", "file", "year", "id", "score", "sentence1", "sentence2"]
STSB = Task(
    name="stsb",
    benchmark="glue",
    files={
        split: places
        + task_lib.places(
            _FOLDERS,
            f"STS-B/original/sts-{name}.tsv",
            f"stsbenchmark/sts-{name}.csv",  # tab-separated, despite its name
            f"SST-B/{name}.tsv",  # a typo in a copy
        )
        for (split, places), name in zip(
            _files("STS-B").items(), ("train", "dev", "test")
        )
    },
    read=_reader(
        needed=["sentence1", "sentence2"],
        headerless={7: _STS_COLUMNS, 9: [*_STS_COLUMNS, "source1", "source2"]},
    ),
    examples=_stsb_examples,
    labels=(),
    score=_stsb_score,
    averaged=("pearson", "spearman"),
    train_examples=5749,
)


# MNLI: two development sets, matched and mismatched, in one task.
_NO_GOLD = {"-": "no gold label, as the annotators disagree"}


def _read_mnli(path: pathlib.Path, split: str) -> Iterator[Row | Dropped]:
    del split  # Each file is of one split.
    kind = readers.kind(path)
    if kind == "json":
        rows = flattened.read(path, flattened.PAIR.format("premise", "hypothesis"))
    elif kind == "jsonl":
        rows = readers.jsonl(path)
    else:
        # MultiNLI's text files may omit the columns of the last annotators.
        rows = readers.tsv(
            path, needed=["sentence1", "sentence2"], short_rows=kind == "txt"
        )
    names = {"sentence1": "premise", "sentence2": "hypothesis", "gold_label": "label"}
    for row in rows:
        row = Row({names.get(k, k): v for k, v in row.items()}, row.origin)
        for part in ("mismatched", "matched"):
            if part in path.name:
                row["part"] = part
                break
        yield row


_mnli_template = classes.template(
    "mnli", ["hypothesis", "premise"], _NLI, unlabeled=_NO_GOLD
)


def _mnli_examples(row: Row) -> Iterator[Example | Dropped]:
    for example in _mnli_template(row):
        if isinstance(example, Example) and "part" in row:
            yield Example(example.inputs, example.targets, example.answer, row["part"])
        else:
            yield example


def _mnli_score(
    examples: Sequence[Example], predictions: Sequence[str]
) -> dict[str, float]:
    """Returns the accuracy of each part, and their mean as `accuracy`."""
    said = [metrics.class_index(prediction, _NLI) for prediction in predictions]
    right = np.array([e.answer == p for e, p in zip(examples, said, strict=True)])
    group = np.array([str(example.group) for example in examples])
    parts = sorted(set(group))
    found = {}
    if len(parts) > 1:
        for part in parts:
            found[f"accuracy_{part}"] = scores.mean(right[group == part])
    member = (group[:, None] == parts).astype(float)
    rows = np.concatenate([member * right[:, None], member], axis=1)
    return {"accuracy": terms.mean_of_parts(rows), **found}


_MULTI_NLI = ("multinli_1.0/multinli_1.0_", "multi_nli/**/multinli_1.0_")
MNLI = Task(
    name="mnli",
    benchmark="glue",
    files={
        "train": task_lib.places(_FOLDERS, "MNLI/train.tsv")
        + tuple(prefix + "train.jsonl" for prefix in _MULTI_NLI)
        + task_lib.places(_FLATTENED, "MNLI/train.json"),
        "validation": task_lib.places(_FOLDERS, "MNLI/dev_{matched,mismatched}.tsv")
        + tuple(prefix + "dev_{matched,mismatched}.jsonl" for prefix in _MULTI_NLI)
        + task_lib.places(_FLATTENED, "MNLI/dev.json"),
        "test": task_lib.places(_FOLDERS, "MNLI/test_{matched,mismatched}.tsv"),
    },
    read=_read_mnli,
    examples=_mnli_examples,
    labels=_NLI,
    score=_mnli_score,
    averaged=("accuracy",),
    train_examples=392702,
)

QNLI = Task(
    name="qnli",
    benchmark="glue",
    files=_files("QNLI"),
    read=_reader(needed=["question", "sentence"]),
    examples=classes.template("qnli", ["question", "sentence"], _ENTAILMENT),
    labels=_ENTAILMENT,
    score=classes.score(_ENTAILMENT, "accuracy"),
    averaged=("accuracy",),
    train_examples=104743,
)

RTE = Task(
    name="rte",
    benchmark="glue",
    files=_files("RTE", flat=True),
    read=_reader(
        flattened.PAIR.format("sentence1", "sentence2"),
        {"contradiction": "not_entailment"},
        needed=["sentence1", "sentence2"],
    ),
    examples=classes.template("rte", ["sentence1", "sentence2"], _ENTAILMENT),
    labels=_ENTAILMENT,
    score=classes.score(_ENTAILMENT, "accuracy"),
    averaged=("accuracy",),
    train_examples=2490,
)

TASKS = (COLA, SST2, MRPC, STSB, QQP, MNLI, QNLI, RTE)
