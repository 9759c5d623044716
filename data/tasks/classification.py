"""Classification: toxic comments (Civil Comments, Wikipedia) and IMDb reviews."""

from collections.abc import Iterator
import pathlib
import re
import tarfile

from clinometer.data.corpus import compressed
from clinometer.data.corpus import tar_archives
from clinometer.data.errors import DataError
from clinometer.data.tasks import classes
from clinometer.data.tasks import readers
from clinometer.data.tasks import task as task_lib
from clinometer.data.tasks.task import Dropped
from clinometer.data.tasks.task import Example
from clinometer.data.tasks.task import Row
from clinometer.data.tasks.task import Task

_TOXIC_LABELS = ("non-toxic", "toxic")
_TOXIC = 0.5  # the smallest toxicity of a toxic comment
_NOT_SCORED = "labels of -1, which Kaggle does not score"


def _toxicity(prefix: str) -> task_lib.Examples:
    """Returns the template for comments with a `toxicity` from 0 to 1."""

    def examples(row: Row) -> list[Example | Dropped]:
        toxicity = row.number("toxicity")
        if toxicity == -1:
            return [Dropped(row.origin, _NOT_SCORED)]
        if toxicity is not None and not 0 <= toxicity <= 1:
            raise row.error(f"toxicity {toxicity} is not in [0, 1]")
        answer = None if toxicity is None else int(toxicity >= _TOXIC)
        inputs = f"{prefix} text: {row.text('text')}"
        return [Example(inputs, classes.target(answer, _TOXIC_LABELS), answer)]

    return examples


def _read_civil_comments(path: pathlib.Path, split: str) -> Iterator[Row]:
    del split  # Each file is of one split.
    rename = {"comment_text": "text", "target": "toxicity"}
    yield from readers.csv(path, needed=["text"], rename=rename)


_CIVIL_FOLDERS = (
    "civil_comments/",
    "jigsaw_unintended_bias/",
    "jigsaw-unintended-bias-in-toxicity-classification/",
    "toxicity/civil_comments/",
)
CIVIL_COMMENTS = Task(
    name="civil_comments",
    benchmark="classification",
    files={
        "train": task_lib.places(_CIVIL_FOLDERS, "train.csv"),
        "validation": task_lib.places(_CIVIL_FOLDERS, "test_public_expanded.csv"),
        "test": task_lib.places(_CIVIL_FOLDERS, "test_private_expanded.csv"),
    },
    read=_read_civil_comments,
    examples=_toxicity("civil_comments"),
    labels=_TOXIC_LABELS,
    score=classes.score(_TOXIC_LABELS, "accuracy"),
    averaged=("accuracy",),
    train_examples=1804874,
)


def _read_wiki_toxicity(path: pathlib.Path, split: str) -> Iterator[Row]:
    """Yields comments; Kaggle's test set has its labels in a separate file."""
    del split  # Each file is of one split.
    rename = {"comment_text": "text", "toxic": "toxicity"}
    labels = {}
    listed = readers.beside(path, "test_labels.csv")
    if compressed.strip_suffix(path.name) == "test.csv" and listed:
        labels = {
            row.text("id"): row.text("toxicity")
            for row in readers.csv(listed, needed=["id", "toxicity"], rename=rename)
        }
    for row in readers.csv(path, needed=["text"], rename=rename):
        if labels:
            if row.field("id") not in labels:
                raise row.error(f"no label for id {row['id']!r} in {listed}")
            row["toxicity"] = labels[row["id"]]
        yield row


_WIKI_FOLDERS = (
    "wiki_toxicity/",
    "wikipedia_toxicity_subtypes/",
    "jigsaw-toxic-comment-classification-challenge/",
    "toxicity/jigsaw_wikipedia/",
)
WIKI_TOXICITY = Task(
    name="wiki_toxicity",
    benchmark="classification",
    files={
        "train": task_lib.places(_WIKI_FOLDERS, "wikidata_train.csv", "train.csv"),
        # Without a validation set, as in the release, the test set is used.
        "validation": task_lib.places(
            _WIKI_FOLDERS, "valid.csv", "wikidata_test.csv", "test.csv"
        ),
        "test": task_lib.places(
            _WIKI_FOLDERS, "wikidata_test.csv", "test_proced.csv", "test.csv"
        ),
    },
    read=_read_wiki_toxicity,
    examples=_toxicity("wiki_toxicity"),
    labels=_TOXIC_LABELS,
    score=classes.score(_TOXIC_LABELS, "accuracy"),
    averaged=("accuracy",),
    train_examples=159571,
)


# IMDb: one file per review, `split/pos/id_rating.txt`, in a folder or an archive.

_IMDB_LABELS = ("negative", "positive")
_IMDB_FOLDERS = {"neg": "negative", "pos": "positive"}
_RATINGS = {"neg": range(1, 5), "pos": range(7, 11)}
_REVIEW = re.compile(r"(?:.*/)?(train|val|test)/(neg|pos)/(\d+)_(\d+)\.txt")


def _read_imdb(path: pathlib.Path, split: str) -> Iterator[Row]:
    """Yields reviews in order of their ids, the negative ones first.

    The release has no validation set, so its test set is used for validation.
    """
    wanted = {"train": ("train",), "validation": ("val", "test"), "test": ("test",)}
    found = {part: [] for part in wanted[split]}
    for name, data in _files(path, set(wanted[split])):
        match = _REVIEW.fullmatch(name)
        part, folder, number, rating = match.groups()
        row = Row({"label": _IMDB_FOLDERS[folder]}, f"{path}!{name}")
        if int(rating) not in _RATINGS[folder]:
            raise row.error(f"a review with rating {rating} is in the folder {folder}")
        try:
            row["review"] = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise row.error(f"not valid UTF-8: {error}") from None
        found[part].append((folder, int(number), row))
    rows = next((rows for rows in found.values() if rows), [])
    for _, _, row in sorted(rows, key=lambda item: item[:2]):
        yield row


def _files(path: pathlib.Path, parts: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yields the names and contents of the reviews in the given parts."""
    if path.is_dir():
        for part in sorted(parts):
            for file in (path / part).glob("*/*_*.txt"):
                name = file.relative_to(path).as_posix()
                if _REVIEW.fullmatch(name):
                    with readers.binary(file) as stream:
                        yield name, stream.read()
        return
    try:
        with readers.binary(path) as stream:
            for member, review in tar_archives.members(stream):
                match = _REVIEW.fullmatch(member.name)
                if match and match[1] in parts and review is not None:
                    yield member.name, review.read()
    except tarfile.TarError as error:
        raise DataError(f"{path}: truncated or corrupt: {error}") from None


_IMDB_PLACES = task_lib.places(
    ("imdb/", ""), "aclImdb", "aclImdb.tar", "aclImdb_v1.tar"
)
IMDB = Task(
    name="imdb",
    benchmark="classification",
    files=dict.fromkeys(("train", "validation", "test"), _IMDB_PLACES),
    read=_read_imdb,
    examples=classes.template("imdb", ["review"], _IMDB_LABELS),
    labels=_IMDB_LABELS,
    score=classes.score(_IMDB_LABELS, "accuracy"),
    averaged=("accuracy",),
    train_examples=25000,
)

TASKS = (CIVIL_COMMENTS, WIKI_TOXICITY, IMDB)
