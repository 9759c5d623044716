"""Winograd schemas: SuperGLUE's WSC, DPR as additional training data, and GLUE's WNLI.

As in T5, the task is to predict the noun phrase that a starred pronoun refers to. A row
of WSC says whether a given phrase is correct. Only correct phrases are used for
training; in evaluation, a prediction counts as "yes" if it is that phrase. The target
is the phrase, correct or not, and the answer is the label.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import itertools
import pathlib
import re

from clinometer.data.errors import DataError
from clinometer.data.tasks import metrics
from clinometer.data.tasks import readers
from clinometer.data.tasks import task as task_lib
from clinometer.data.tasks.task import Dropped
from clinometer.data.tasks.task import Example
from clinometer.data.tasks.task import Row
from clinometer.data.tasks.task import Task

SUPERGLUE_FOLDERS = ("superglue/", "super_glue/", "SuperGLUE/", "")
_LABELS = ("False", "True")
_NEGATIVE = "an incorrect phrase; only correct ones are used for training"


def _score(examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
    answers = [example.answer for example in examples]
    said = [
        metrics.wsc_class(prediction, example.targets)
        for prediction, example in zip(predictions, examples, strict=True)
    ]
    return {"accuracy": metrics.accuracy(answers, said)}


# WSC.


def _wsc_rows(path: pathlib.Path, split: str) -> Iterator[Row | Dropped]:
    for row in readers.jsonl(path):
        if split == "train" and row.class_index(_LABELS) == 0:
            yield Dropped(row.origin, _NEGATIVE)
        else:
            yield row


def _wsc_examples(row: Row) -> list[Example]:
    spans = row.part("target")
    words = row.text("text").strip().split(" ")
    starred = _star(words, spans.index("span2_index"), spans.text("span2_text"), row)
    phrase = _as_in_text(spans.text("span1_text"), row.text("text"))
    return [Example(f"wsc: {starred}", phrase, row.class_index(_LABELS))]


def _star(words: Sequence[str], index: int, pronoun: str, row: Row) -> str:
    """Returns the text with the pronoun starred and separated from punctuation.

    In a few rows of the release, the index is wrong or the capitalisation of the
    pronoun differs; the nearest match is used.
    """
    pattern = re.compile(
        rf"(\W*)({re.escape(pronoun.rstrip('.'))})(\W*)", re.IGNORECASE
    )
    for i in sorted(range(len(words)), key=lambda i: abs(i - index)):
        match = pattern.fullmatch(words[i])
        if match:
            before, word, after = match.groups()
            marked = f"{before}*{word}*" + (f" {after}" if after else "")
            return " ".join([*words[:i], marked, *words[i + 1 :]])
    raise row.error(f"no word in the text is the pronoun {pronoun!r}")


def _as_in_text(phrase: str, text: str) -> str:
    """Returns a phrase with the capitalisation that it has in the text."""
    if phrase in text:
        return phrase
    phrase = phrase.replace("\n", " ").rstrip(".")
    found = re.search(re.escape(phrase), text, re.IGNORECASE)
    return found[0] if found else phrase


WSC = Task(
    name="wsc",
    benchmark="superglue",
    files={
        "train": task_lib.places(
            SUPERGLUE_FOLDERS, "WSC/train.jsonl", "WSC/train32.jsonl"
        ),
        "validation": task_lib.places(
            SUPERGLUE_FOLDERS, "WSC/val.jsonl", "WSC/dev32.jsonl"
        ),
        "test": task_lib.places(SUPERGLUE_FOLDERS, "WSC/test.jsonl"),
    },
    read=_wsc_rows,
    examples=_wsc_examples,
    labels=(),
    score=_score,
    averaged=("accuracy",),
    train_examples=259,  # positives only
)


# DPR: definite pronoun resolution (Rahman and Ng 2012).


def _dpr_rows(path: pathlib.Path, split: str) -> Iterator[Row]:
    """Yields the rows: sentence, pronoun, "one,other" and answer on a line each."""
    del split  # Each file is of one split.
    lines = ((origin, line.strip()) for origin, line in readers.lines(path))
    lines = (pair for pair in lines if pair[1])
    names = ("sentence", "pronoun", "candidates", "answer")
    for block in iter(lambda: list(itertools.islice(lines, len(names))), []):
        row = Row(zip(names, (line for _, line in block)), block[0][0])
        if len(block) < len(names):
            raise row.error(f"{len(block)} lines, not {len(names)}: {', '.join(names)}")
        yield row


def _dpr_examples(row: Row) -> list[Example]:
    candidates = [part.strip() for part in row.text("candidates").split(",", 1)]
    answer = row.text("answer")
    chosen = [c for c in candidates if c.lower() == answer.lower()]
    if len(candidates) != 2 or not chosen:
        raise row.error(f"the answer {answer!r} is not one of {candidates}")
    # As in T5, the first occurrence is starred, or none if the pattern does not match.
    starred = re.sub(
        rf" ({re.escape(row.text('pronoun'))})( |\.|,)",
        r" *\1*\2",
        row.text("sentence"),
        count=1,
    )
    return [Example(f"wsc: {starred}", chosen[0], 1)]


DPR = Task(
    name="dpr",
    benchmark=None,
    files={
        split: task_lib.places(
            ("dpr/", "DPR/", "definite_pronoun_resolution/", ""), f"{name}.c.txt"
        )
        for split, name in [("train", "train"), ("validation", "test")]
    },
    read=_dpr_rows,
    examples=_dpr_examples,
    labels=(),
    score=_score,
    averaged=("accuracy",),
    train_examples=1322,
)


# WNLI: evaluation only. The second sentence is a part of the first one with a phrase in
# place of a pronoun. Pronoun and phrase are recovered from the words around them.

_PRONOUNS = frozenset(["he", "she", "they", "it", "her", "his", "their", "them", "him"])
_END = ".,?!"


def _wnli_examples(row: Row) -> list[Example]:
    premise = [word for word in row.text("sentence1").split(" ") if word]
    hypothesis = [word for word in row.text("sentence2").split(" ") if word]
    starred, phrase = _find_pronoun(premise, hypothesis, row)
    return [Example(f"wsc: {starred}", phrase, row.class_index(_LABELS))]


def _find_pronoun(
    premise: Sequence[str], hypothesis: Sequence[str], row: Row
) -> tuple[str, str]:
    """Returns the premise with the pronoun starred, and the phrase that replaces it.

    Chooses the pronoun with the most surrounding words in common with the hypothesis.
    """
    plain, other = _plain(premise), _plain(hypothesis)
    pronouns = [i for i, word in enumerate(plain) if word in _PRONOUNS]
    if not pronouns:
        raise row.error(f"sentence1 has none of the pronouns {sorted(_PRONOUNS)}")
    # Ties go to the last pronoun.
    best = max(reversed(pronouns), key=lambda i: sum(_context(plain, other, i)))
    before, after = _context(plain, other, best)
    start, stop = _gap(other, plain[best - before : best], plain[best + 1 :][:after])
    # If there are articles, the phrase begins at the last one.
    inside = other[start:stop]
    start += max(inside.index(a) if a in inside else 0 for a in ("a", "an", "the"))
    phrase = " ".join(hypothesis[start:stop]).rstrip(_END)
    word = premise[best]
    marked = f"*{word.rstrip(_END)}*" + (f" {word[-1]}" if word[-1] in _END else "")
    starred = " ".join([*premise[:best], marked, *premise[best + 1 :]])
    return starred, re.sub("'s?$", "", phrase)


def _plain(words: Iterable[str]) -> list[str]:
    return [word.lower().rstrip(_END) for word in words]


def _context(premise: Sequence[str], other: Sequence[str], i: int) -> tuple[int, int]:
    """Returns how many words before and after i occur in `other` consecutively."""
    text = f" {' '.join(other)} "
    before = 0
    while before < i and f" {' '.join(premise[i - before - 1 : i])} " in text:
        before += 1
    rest = premise[i + 1 :]
    after = 0
    while after < len(rest) and f" {' '.join(rest[: after + 1])} " in text:
        after += 1
    return before, after


def _gap(
    words: Sequence[str], before: Sequence[str], after: Sequence[str]
) -> tuple[int, int]:
    """Returns start and stop of the words between two runs, which may be empty."""

    def position(run: Sequence[str], start: int) -> int | None:
        ends = range(start, len(words) - len(run) + 1)
        return next(
            (i for i in ends if list(words[i : i + len(run)]) == list(run)), None
        )

    start = position(before, 0)
    start = 0 if start is None else start + len(before)
    stop = position(after, start + 1) if after else len(words)
    if stop is None and after:  # The phrase is at the start.
        start, stop = 0, position(after, 1)
    if stop is None or start >= len(words):  # The phrase is at the end.
        stop = len(words)
    return min(start, len(words) - 1), stop


def _wnli_rows(path: pathlib.Path, split: str) -> Iterator[Row | Dropped]:
    if split == "train":
        raise DataError("WNLI is for evaluation only, as in T5; it has no train split.")
    yield from readers.tsv(path, needed=["sentence1", "sentence2"])


WNLI = Task(
    name="wnli",
    benchmark=None,
    files={
        split: task_lib.places(("glue/", "glue_data/", "GLUE/", ""), f"WNLI/{name}.tsv")
        for split, name in [("train", "train"), ("validation", "dev"), ("test", "test")]
    },
    read=_wnli_rows,
    examples=_wnli_examples,
    labels=(),
    score=_score,
    averaged=("accuracy",),
    train_examples=0,
)
