"""The one definition of which runs may be compared.

A field is a column of runs.csv. Its scope says which runs must agree in it: all runs of
a report, the runs of one model, or the runs of a fit against time. Whatever else
distinguishes two runs (architecture, size, seed, order of the data) is what a study
varies.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import enum
import hashlib
import json
from typing import Any

from clinometer.kernels.options.errors import OptionError
from clinometer.kernels.options.errors import did_you_mean
from clinometer.tools.fit.errors import FitError

Row = Mapping[str, Any]


class Scope(enum.Enum):
    """The runs that must agree in a field."""

    ALL = "all runs"
    MODEL = "the runs of one model"
    TIME = "the runs of a fit against time"


@dataclasses.dataclass(frozen=True)
class Field:
    """A condition under which a run was trained.

    Attributes:
        column: its column in runs.csv, which also names it for `--mixed`.
        words: what it is, in a sentence.
        scope: which runs must agree in it.
    """

    column: str
    words: str
    scope: Scope = Scope.ALL


FIELDS = (
    # The embedded corpus contains Python's standard library, so it depends on the
    # Python version. Losses per token of different vocabularies cannot be compared.
    Field("corpus_hash", "corpus"),
    Field("corpus_python_version", "Python version of the corpus"),
    Field("vocabulary_sha256", "vocabulary"),
    Field("vocab_size", "size of the embedding table"),
    Field("validation_rows", "number of validation rows"),
    Field("validation_tokens", "number of validation tokens"),
    Field("train_steps", "run length"),
    Field("batch_size", "batch size"),
    Field("encoder_length", "encoder length"),
    Field("decoder_length", "decoder length"),
    Field("noise_density", "fraction of masked tokens"),
    Field("mean_noise_span_length", "mean length of a masked span"),
    Field("order_protocol", "how the order of the data is drawn"),
    Field("dtype", "dtype"),
    Field("dropout_rate", "dropout rate"),
    Field("z_loss", "weight of the z-loss"),
    Field("optimizer", "optimizer and its settings"),
    Field("schedule", "schedule and its settings"),
    Field("num_microbatches", "number of microbatches"),
    Field("initial", "initial parameters"),
    Field("rate_protocol", "protocol of the learning rate"),
    Field("learning_rate", "learning rate", Scope.MODEL),
    Field("model_overrides", "settings of the model", Scope.MODEL),
    Field("device_platform", "platform", Scope.TIME),
    Field("device_kind", "device", Scope.TIME),
    Field("device_training", "number of devices", Scope.TIME),
    Field("device_threads", "number of threads", Scope.TIME),
    Field("device_cpu_quota", "CPU limit", Scope.TIME),
    Field("host_cpu", "processor", Scope.TIME),
)
COLUMNS = tuple(field.column for field in FIELDS)


@dataclasses.dataclass(frozen=True)
class Difference:
    """A field in which runs differ that should agree.

    Attributes:
        field: the field.
        runs: value -> names of the runs that have it.
    """

    field: Field
    runs: Mapping[Any, Sequence[str]]

    def __str__(self) -> str:
        listed = "; ".join(
            f"{'none' if value is None else value}: {some(runs)}"
            for value, runs in self.runs.items()
        )
        return f"{self.field.words} ({self.field.column}). {listed}"


def some(names: Sequence[str], most: int = 3) -> str:
    """Returns names as text: all, or the first ones and how many more there are."""
    if len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def key(row: Row) -> str:
    """Returns the comparability key of a run: a hash of its fields of scope ALL.

    Args:
        row: a row of runs.csv; a missing column counts as None.
    """
    values = {f.column: row.get(f.column) for f in FIELDS if f.scope is Scope.ALL}
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def cell(row: Row) -> tuple[Any, ...]:
    """Returns the cell of a run: its model and all conditions except the device.

    Only runs of one cell are replicates of each other.

    Args:
        row: a row of runs.csv; a missing column counts as None.
    """
    own = (row.get(f.column) for f in FIELDS if f.scope is Scope.MODEL)
    return row.get("model"), key(row), *own


def differences(
    rows: Sequence[Row], scopes: Sequence[Scope], mixed: Sequence[str] = ()
) -> list[Difference]:
    """Returns the fields in which runs differ that should agree.

    Args:
        rows: rows of runs.csv with a column `run`; a missing column counts as None.
        scopes: the fields to check. Scope MODEL compares the runs of each model.
        mixed: columns that may differ.
    """
    found = []
    for field in FIELDS:
        if field.scope not in scopes or field.column in mixed:
            continue
        groups = [rows]
        if field.scope is Scope.MODEL:
            models = dict.fromkeys(row.get("model") for row in rows)
            groups = [[r for r in rows if r.get("model") == model] for model in models]
        for group in groups:
            runs: dict[Any, list[str]] = {}
            for row in group:
                runs.setdefault(row.get(field.column), []).append(str(row["run"]))
            if len(runs) > 1:
                found.append(Difference(field, runs))
    return found


def check_comparable(rows: Sequence[Row], mixed: Sequence[str] = ()) -> None:
    """Checks that all runs may stand in one fit of the loss.

    Args:
        rows: see `differences`.
        mixed: columns that may differ.

    Raises:
        FitError: the runs differ in another field; the message names the field and the
            runs.
    """
    found = differences(rows, (Scope.ALL, Scope.MODEL), mixed)
    if not found:
        return
    first, *others = found
    more = dict.fromkeys(one.field.column for one in others)
    more.pop(first.field.column, None)
    also = f" They also differ in {', '.join(more)}." if more else ""
    fields = ",".join(dict.fromkeys(one.field.column for one in found))
    raise FitError(
        f"the runs differ in {first}.{also} Losses cannot be fitted together across "
        "these differences: report the runs from separate folders, or ask for a fit "
        f"of all of them with `clinometer report --mixed {fields}`"
    )


def parse_mixed(text: str) -> tuple[str, ...]:
    """Parses the value of `--mixed`.

    Args:
        text: comma-separated columns.

    Raises:
        OptionError: a column is not a field of `FIELDS`.
    """
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [name for name in names if name not in COLUMNS]
    if unknown or not names:
        what = f"unknown field {unknown[0]!r}" if unknown else "no field given"
        hint = did_you_mean(unknown[0], COLUMNS) if unknown else ""
        raise OptionError(f"{what}{hint}; accepted: {', '.join(COLUMNS)}")
    return names
