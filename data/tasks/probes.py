"""The probes, three small tasks generated from the embedded corpus.

They need no download and show, wherever Clinometer runs, whether pretraining transfers
to a downstream task, but are too small to say much about a model. Pretraining helps in
cloze; at the sizes of the study, it does not help in the other two (train/RESULTS.md).
"""

from collections.abc import Iterable
from collections.abc import Sequence
import hashlib
import inspect
import json
import os
import pathlib
import shutil
from typing import TextIO

from clinometer.data import cache
from clinometer.data import files
from clinometer.data import paths
from clinometer.data.corpus import embedded
from clinometer.data.tasks import classes
from clinometer.data.tasks import docstring_probes
from clinometer.data.tasks import metrics
from clinometer.data.tasks import readers
from clinometer.data.tasks.task import Example
from clinometer.data.tasks.task import Row
from clinometer.data.tasks.task import Task

BENCHMARK = "probes"
# `train_examples` below are counts for the locked versions of the packages; other
# versions give slightly different ones.
_ACCEPTABLE = ("unacceptable", "acceptable")
_SAME = ("different", "same")
_BLANK = "<extra_id_0>"


def ensure_folder(
    directory: str | None = None, progress: TextIO | None = None
) -> pathlib.Path:
    """Generates the data of the probes from the embedded corpus unless it is cached.

    Args:
        directory: the cache folder; None => `cache.folder()`.
        progress: where progress is written; None => standard error.

    Returns:
        The folder with the data, to use as the user's folder in `load.load`.

    Raises:
        DataError: a package of the corpus is missing, or the cache cannot be written.
    """
    directory = directory or cache.folder()
    corpus = embedded.ensure_corpus(directory, progress)
    code = hashlib.sha256(inspect.getsource(docstring_probes).encode()).hexdigest()
    folder = os.path.join(directory, f"probes-{embedded.corpus_key()}-{code[:8]}")
    with (
        files.disk_errors(f"the probes {folder!r}"),
        files.lock(folder + ".making", wait=True),
    ):
        if not os.path.isdir(folder):
            partial = folder + ".partial"
            shutil.rmtree(partial, ignore_errors=True)
            with open(corpus, encoding="utf-8") as lines:
                made = docstring_probes.make(json.loads(line)["text"] for line in lines)
            for (name, split), rows in made.items():
                os.makedirs(os.path.join(partial, name), exist_ok=True)
                text = "".join(json.dumps(row) + "\n" for row in rows)
                path = os.path.join(partial, name, f"{split}.jsonl")
                paths.write_bytes(path, text.encode())
            os.rename(partial, folder)
    return pathlib.Path(folder)


def _files(name: str) -> dict[str, tuple[str, ...]]:
    return {split: (f"{name}/{split}.jsonl",) for split in docstring_probes.SPLITS}


def _cloze_examples(row: Row) -> Iterable[Example]:
    """Returns an example with a sentinel as the blank, as in pretraining."""
    answer = row.text("answer")
    # The phrase comes first, because a long context may be truncated.
    inputs = f"cloze phrase: {row.text('phrase')} {_BLANK} context: "
    return [Example(inputs + row.text("context"), f"{_BLANK} {answer}", (answer,))]


def _cloze_score(
    examples: Sequence[Example], predictions: Sequence[str]
) -> dict[str, float]:
    filled = [text.removeprefix(_BLANK) for text in predictions]
    return metrics.squad([example.answer for example in examples], filled)


ACCEPTABILITY = Task(
    name="acceptability",
    benchmark=BENCHMARK,
    files=_files("acceptability"),
    read=readers.jsonl,
    examples=classes.template("acceptability", ["sentence"], _ACCEPTABLE),
    labels=_ACCEPTABLE,
    score=classes.score(_ACCEPTABLE, "matthews"),
    averaged=("matthews",),
    train_examples=3060,
)

SAME_DOCUMENT = Task(
    name="same_document",
    benchmark=BENCHMARK,
    files=_files("same_document"),
    read=readers.jsonl,
    examples=classes.template("same_document", ["sentence1", "sentence2"], _SAME),
    labels=_SAME,
    score=classes.score(_SAME, "accuracy"),
    averaged=("accuracy",),
    train_examples=2518,
)

CLOZE = Task(
    name="cloze",
    benchmark=BENCHMARK,
    files=_files("cloze"),
    read=readers.jsonl,
    examples=_cloze_examples,
    labels=(),
    score=_cloze_score,
    averaged=("em", "f1"),
    train_examples=1001,
    sentinels=True,
    closed=True,
)

TASKS = (ACCEPTABILITY, SAME_DOCUMENT, CLOZE)
