"""Summarization tasks: XSum, CNN/DailyMail and Multi-News."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import hashlib
import pathlib

from clinometer.data.errors import DataError
from clinometer.data.tasks import metrics
from clinometer.data.tasks import readers
from clinometer.data.tasks import task as task_lib
from clinometer.data.tasks.task import Dropped
from clinometer.data.tasks.task import Example
from clinometer.data.tasks.task import Row
from clinometer.data.tasks.task import Task

_SPLITS = ("train", "validation", "test")


def _examples(row: Row) -> list[Example]:
    inputs = f"summarize: {row.text('document')}"
    if "summary" not in row:
        return [Example(inputs, task_lib.UNLABELED, None)]
    return [Example(inputs, row.text("summary"), row.text("summary"))]


def _score(examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
    return metrics.rouge([example.answer for example in examples], predictions)


def _exports(
    path: pathlib.Path, document: str = "document", summary: str = "summary"
) -> Iterator[Row]:
    """Yields the rows of an export as JSON lines or CSV."""
    rename = {document: "document", summary: "summary"}
    if readers.kind(path) == "csv":
        yield from readers.csv(path, needed=["document"], rename=rename)
        return
    for row in readers.jsonl(path):
        yield Row({rename.get(k, k): v for k, v in row.items()}, row.origin)


# XSum: BBC pages, as sections `[SN]NAME[SN]text`, and a list of ids per split.

_MOST_IN_NAME = 200  # characters of a file name
_XSUM_SPLITS = "XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json"
# Lines of a page that are not part of the article.
_FURNITURE = frozenset(
    [
        "Share this with",
        "Email",
        "Facebook",
        "Messenger",
        "Twitter",
        "Pinterest",
        "WhatsApp",
        "Linkedin",
        "LinkedIn",
        "Copy this link",
        "These are external links and will open in a new window",
    ]
)


def _read_xsum(path: pathlib.Path, split: str) -> Iterator[Row]:
    if not path.is_dir():
        yield from _exports(path)
        return
    lists = [folder / _XSUM_SPLITS for folder in (path, path.parent)]
    found = [name for name in lists if name.exists()]
    if not found:
        raise DataError(f"{path} needs the list of its splits, {lists[1]}.")
    splits = Row(readers.json_object(found[0]), str(found[0]))
    for name in splits.texts(split):
        if "\0" in name or len(name) > _MOST_IN_NAME:
            raise splits.error(f"{name!r} in {split!r} is not a valid file name")
        page = path / f"{name}.summary"
        lines = (line for _, line in readers.lines(page))
        kept = [line for line in lines if line.strip() and line not in _FURNITURE]
        parts = "\n".join(kept).split("[SN]")[1:]
        row = Row(zip(parts[::2], map(str.strip, parts[1::2])), str(page))
        yield Row(
            {"document": row.text("RESTBODY"), "summary": row.text("FIRST-SENTENCE")},
            row.origin,
        )


def _xsum_places(split: str) -> tuple[str, ...]:
    names = [f"{split}.jsonl", "bbc-summary-data"]
    names += ["test1000.jsonl"] if split == "test" else []
    return task_lib.places(("xsum/", "XSum/"), *names) + ("bbc-summary-data",)


XSUM = Task(
    name="xsum",
    benchmark="summarization",
    files={split: _xsum_places(split) for split in _SPLITS},
    read=_read_xsum,
    examples=_examples,
    labels=(),
    score=_score,
    averaged=("rougeLsum",),
    train_examples=204045,
)


# CNN/DailyMail: a list of URLs, and a story for each, named by the URL's SHA-1.

_STORIES = ("cnn/stories", "dailymail/stories", "cnn_stories", "dailymail_stories")
_ENDS = (".", "!", "?", "'", "`", '"', "\u2019", "\u201d", ")")
_NO_STORY = "a story without text or highlights"


def _read_cnn_dailymail(path: pathlib.Path, split: str) -> Iterator[Row | Dropped]:
    del split  # Each file is of one split.
    if readers.kind(path) != "txt":
        yield from _exports(path, "article", "highlights")
        return
    roots = (path.parent, path.parent.parent)
    folders = [root / name for root in roots for name in _STORIES]
    folders = [folder for folder in folders if folder.is_dir()]
    if not folders:
        raise DataError(f"{path} needs its stories; looked for {', '.join(_STORIES)}.")
    for origin, address in readers.lines(path):
        if not address:
            continue
        name = hashlib.sha1(address.encode()).hexdigest() + ".story"
        found = [folder / name for folder in folders if (folder / name).exists()]
        if not found:
            shown = task_lib.shortened(address)
            raise DataError(f"{origin}: no story {name} for {shown}.")
        row = _story(found[0])
        yield row if all(row.values()) else Dropped(row.origin, _NO_STORY)


def _story(path: pathlib.Path) -> Row:
    """Returns article and highlights, with a full stop after unpunctuated lines."""
    lines = [line.strip() for _, line in readers.lines(path)]
    lines = [
        line if line.endswith(_ENDS) or "@highlight" in line else line + "."
        for line in lines
        if line
    ]
    marks = [i for i, line in enumerate(lines) if line.startswith("@highlight")]
    first = marks[0] if marks else len(lines)
    highlights = [line for line in lines[first:] if not line.startswith("@highlight")]
    return Row(
        {"document": " ".join(lines[:first]), "summary": "\n".join(highlights)},
        str(path),
    )


def _cnn_dailymail_places(split: str, short: str) -> tuple[str, ...]:
    names = [f"url_lists/all_{short}.txt", f"all_{short}.txt"]
    names += [f"{name}.{kind}" for name in (split, short) for kind in ("csv", "jsonl")]
    folders = ("cnn_dailymail/", "cnn-dailymail/", "cnn_dm/")
    return task_lib.places(folders, *dict.fromkeys(names))


CNN_DAILYMAIL = Task(
    name="cnn_dailymail",
    benchmark="summarization",
    files={
        split: _cnn_dailymail_places(split, short)
        for split, short in zip(_SPLITS, ("train", "val", "test"))
    },
    read=_read_cnn_dailymail,
    examples=_examples,
    labels=(),
    score=_score,
    averaged=("rougeLsum",),
    train_examples=287113,
)


# Multi-News: two parallel files with one example per line; NEWLINE_CHAR is a line end.


def _read_multi_news(path: pathlib.Path, split: str) -> Iterator[Row]:
    del split  # Each file is of one split.
    if ".src" not in path.suffixes:
        yield from _exports(path)
        return
    name = path.name.partition(".src")[0] + ".tgt"
    beside = readers.beside(path, name) or path.with_name(name)
    documents, summaries = _lines(path), _lines(beside)
    if len(documents) != len(summaries):
        raise DataError(
            f"{path} has {len(documents)} lines, but {beside} has {len(summaries)}."
        )
    for number, (document, summary) in enumerate(zip(documents, summaries), start=1):
        fields = {
            "document": document.replace("NEWLINE_CHAR", "\n"),
            "summary": summary.lstrip("- "),
        }
        yield Row(fields, f"{path}:{number}")


def _lines(path: pathlib.Path) -> list[str]:
    return [line.strip() for _, line in readers.lines(path)]


def _multi_news_places(names: Iterable[str]) -> tuple[str, ...]:
    kinds = ("src.cleaned", "src", "jsonl")
    files = [f"{name}.{kind}" for kind in kinds for name in names]
    return task_lib.places(("multi_news/", "multi-news/", "multi_news/data/"), *files)


MULTI_NEWS = Task(
    name="multi_news",
    benchmark="summarization",
    files={
        "train": _multi_news_places(["train"]),
        "validation": _multi_news_places(["val", "validation"]),
        "test": _multi_news_places(["test"]),
    },
    read=_read_multi_news,
    examples=_examples,
    labels=(),
    score=_score,
    averaged=("rougeLsum",),
    train_examples=44972,
)

TASKS = (XSUM, CNN_DAILYMAIL, MULTI_NEWS)
