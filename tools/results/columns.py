"""The columns of results, with their units: of CSV files and of frames.

A frame has all columns of runs.csv (`report/rows.py`), those of `OWN`, and some
columns for each task or average that a run was scored on (`PATTERNS`). A CSV file may
have the columns of `IMPORTED` and of `PATTERNS`; further columns of runs.csv are
accepted and kept where a fit needs them. Missing values are None in text columns and
NaN in columns of numbers.
"""

from collections.abc import Iterable
import dataclasses
import enum
import re

from clinometer.kernels.options.errors import did_you_mean
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.results import errors


class Kind(enum.Enum):
    """What a column holds."""

    TEXT = "text"
    NUMBER = "a number"
    FLAG = "true or false"


@dataclasses.dataclass(frozen=True)
class Column:
    """A documented column.

    Attributes:
        name: its name.
        unit: unit of its numbers; "" for text.
        words: what it holds.
        kind: what it holds, as a type.
        low: smallest accepted number.
        high: largest accepted number.
        hint: the likely mistake behind a number out of range.
    """

    name: str
    unit: str
    words: str
    kind: Kind = Kind.NUMBER
    low: float = 0.0
    high: float = float("inf")
    hint: str = ""

    @property
    def accepted(self) -> str:
        """What the column accepts, as error messages say it."""
        if self.kind is not Kind.NUMBER:
            return self.kind.value
        above = f"{self.low:g} or more"
        span = above if self.high == float("inf") else f"{self.low:g} to {self.high:g}"
        return f"{span}, in {self.unit}"


_TEXT, _FLAG = Kind.TEXT, Kind.FLAG
_MILLIONS = "a value in millions or billions must be written in full"
_TERA = "a value in GFLOPs or TFLOPs must be written in full"

# Columns of frames that runs.csv does not have.
OWN = (
    Column("source", "", "where the row is from: a paper's table, or a file", _TEXT),
    Column("published", "", "whether the row was copied from a publication", _FLAG),
    Column("left_out", "", "why no fit may use the run; empty if it may", _TEXT),
    Column("printed_params", "parameters", "as printed, rounded", low=1e3),
    Column(
        "printed_macs_forward_batch",
        "multiply-adds per batch",
        "as printed, rounded",
        low=1e6,
        hint=_TERA,
    ),
    Column(
        "printed_macs_per_example",
        "multiply-adds per example",
        "as printed, rounded",
        low=1e3,
        hint=_TERA,
    ),
    Column(
        "validation_loss_standard_error",
        "nats per token",
        "standard error of the loss, between runs",
        high=5.0,
    ),
)

# Columns of runs.csv that a CSV file is expected to give.
_SHARED = (
    Column("run", "", "unique name of the run; needed", _TEXT),
    Column("model", "", "ARCHITECTURE-[OPERATORS-]SIZE; needed", _TEXT),
    Column("architecture", "", "by default the model up to its first dash", _TEXT),
    Column("seed", "whole numbers", "seed of the run", high=2.0**63),
    Column("d_model", "whole numbers", "width of the model", low=1),
    Column(
        "params_total",
        "parameters",
        "embeddings included, exact",
        low=1e3,
        hint=_MILLIONS,
    ),
    Column(
        "papers_macs_forward_batch",
        "multiply-adds per batch",
        "a forward pass of a batch in the papers' convention, computed",
        low=1e6,
        hint=_TERA,
    ),
    Column(
        "flops_forward", "FLOPs per batch", "of a forward pass", low=1e6, hint=_TERA
    ),
    Column("training_flops", "FLOPs", "of the whole run", low=1e6, hint=_TERA),
    Column(
        "tokens_seen",
        "tokens",
        "training tokens, those before a branch included",
        low=1e3,
        hint="a value in millions or billions must be written in full",
    ),
    Column("train_steps", "steps", "training steps", low=1),
    Column("batch_size", "examples", "examples per batch", low=1),
    Column("training_seconds", "seconds", "training steps over their median rate"),
    Column("steps_per_second_median", "steps per second", "median training speed"),
    Column("device_training", "chips", "number of chips that trained the run", low=1),
    Column("device_kind", "", "the chip", _TEXT),
    Column(
        "validation_loss_nats",
        "nats per token",
        "validation loss, the papers' negative log-perplexity with its sign changed",
        high=20.0,
        hint="it is a loss: not a perplexity (take its logarithm), and not a negative "
        "log-perplexity (change its sign)",
    ),
    Column("corpus_hash", "", "the text: a hash, or its name", _TEXT),
    Column("vocabulary_sha256", "", "the vocabulary: a hash, or its name", _TEXT),
)

IMPORTED = (*_SHARED, *(column for column in OWN if column.name != "left_out"))
NEEDED = ("run", "model")

_SCORES = (
    Column(
        "majority_TASK",
        "percent",
        "score of a guess: the majority-class baseline",
        high=100.0,
    ),
    Column("score_TASK", "percent", "score of a task or average", high=100.0),
    Column(
        "score_TASK_standard_error",
        "percent",
        "standard error of the score, of whatever error is known",
        high=100.0,
    ),
    Column(
        "likelihood_TASK",
        "percent",
        "100 (1 + log p / log n), where p is the probability of the right one of n "
        "answers",
        low=float("-inf"),
        high=100.0,
    ),
)
PATTERNS = tuple(
    (re.compile(column.name.replace("TASK", "([A-Za-z0-9_.-]+?)") + "$"), column)
    for column in sorted(_SCORES, key=lambda column: -len(column.name))
)
_BY_NAME = {column.name: column for column in (*_SHARED, *OWN)}
_OF_RUNS_CSV = frozenset(rows_lib.COLUMNS)


# Columns of runs.csv without numbers that files of results do not document.
_TEXT_OF_RUNS = frozenset(
    (
        *("size", "kind", "role", "status", "copy_of", "error", "comparability_key"),
        *("rate_protocol", "rate_corpus_hash", "model_overrides", "order_protocol"),
        *("dtype", "optimizer", "schedule", "initial", "downstream_average"),
        *("downstream_tasks", "corpus_python_version", "device_platform", "host_cpu"),
        *("git_revision", "flags", "versions", "started_at", "updated_at"),
        "speed_run",
    )
)
_FLAGS_OF_RUNS = frozenset(("speed_noisy", "git_dirty"))


def kind(name: str) -> Kind:
    """Returns what a column of a frame holds."""
    if name in _BY_NAME:
        return _BY_NAME[name].kind
    if name in _TEXT_OF_RUNS:
        return Kind.TEXT
    return Kind.FLAG if name in _FLAGS_OF_RUNS else Kind.NUMBER


def describe(name: str) -> Column | None:
    """Returns the documented column of a name; None for other columns of runs.csv.

    Raises:
        ResultsError: there is no such column; the message names the accepted ones.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    for pattern, column in PATTERNS:
        if pattern.match(name):
            return dataclasses.replace(column, name=name)
    if name in _OF_RUNS_CSV:
        return None
    known = [column.name for column in (*IMPORTED, *_SCORES)]
    raise errors.ResultsError(
        f"unknown column {name!r}{did_you_mean(name, known)}; accepted: "
        f"{', '.join(known)}"
    )


def tasks(names: Iterable[str], prefix: str = "score") -> list[str]:
    """Returns the tasks and averages among column names, in their order.

    Args:
        names: columns of a frame.
        prefix: "score" or "likelihood".
    """
    end = "_standard_error"
    return [
        name.removeprefix(f"{prefix}_")
        for name in names
        if name.startswith(f"{prefix}_") and not name.endswith(end)
    ]


def table() -> str:
    """Returns the documentation of the columns of CSV files, one a line."""
    lines = []
    for column in (*IMPORTED, *_SCORES):
        unit = f" ({column.unit})" if column.unit else ""
        lines.append(f"  {column.name}{unit}: {column.words}")
    return "\n".join(lines)
