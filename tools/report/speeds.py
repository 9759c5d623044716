"""Takes the speeds of a study's models from its part `speed`, if it has one.

The runs of a study share a machine, so their own times are those of a busy one. The
part has a short run of each model, one at a time.
"""

from collections.abc import Sequence
from typing import Any

from clinometer.data import paths
from clinometer.tools.fit import comparable
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib

FOLDER = "parts/speed"
# Conditions that do not change the speed of a step.
_FREE = (
    *("corpus_hash", "corpus_python_version", "vocabulary_sha256"),
    *("validation_rows", "validation_tokens", "train_steps", "schedule"),
    *("learning_rate", "rate_protocol", "initial"),
)


def taken_apart(
    directory: paths.AnyPath, rows: Sequence[rows_lib.Row]
) -> list[dict[str, Any]]:
    """Returns the rows with the speeds of the study's part `speed`.

    Their `speed_run` names the run that a speed was measured in. Models without a
    finished run in the part have no speed. Without the part, rows keep their own.

    Args:
        directory: the study's folder.
        rows: rows of the table of its runs.

    Raises:
        RecordError: a record of the part cannot be read, a model has several runs in
            it, or its runs differ from the study's in a condition, or from each other
            in the device.
    """
    part = directory / FOLDER
    if not paths.is_folder(part / "runs"):
        return [dict(row) for row in rows]
    found = [rows_lib.make_row(run) for run in records.load_runs(part)]
    found = [row for row in found if row["status"] == "finished"]
    _check(part, rows, found)
    timed = {row["model"]: row for row in found}
    return [_with_speed(row, timed.get(row["model"])) for row in rows]


def described(rows: Sequence[rows_lib.Row]) -> str | None:
    """Says how speeds were measured, if it was in the part; else None.

    Args:
        rows: rows of the table of runs.
    """
    runs = {row["speed_run"] for row in rows} - {None}
    if not runs:
        return None
    return (
        f"speeds and times are those of {len(runs)} short runs in {FOLDER}, one of "
        "each model, trained one at a time; the times of the study's own runs, several "
        "at once, are not used"
    )


def measured(rows: Sequence[rows_lib.Row]) -> list[dict[str, Any]]:
    """Returns one row of each run that was timed, under that run's name.

    Args:
        rows: rows of the table of runs.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row["speed_run"] or row["run"]
        found.setdefault(name, {**row, "run": name})
    return list(found.values())


def _check(
    part: paths.AnyPath,
    rows: Sequence[rows_lib.Row],
    timed: Sequence[rows_lib.Row],
) -> None:
    """Checks that a model has one speed, under the conditions of the study's runs."""
    models = [row["model"] for row in timed]
    again = sorted({model for model in models if models.count(model) > 1})
    if again:
        raise records.RecordError(
            f"{part}: several finished runs of {', '.join(again)}; accepted: one of a "
            "model"
        )
    alike = [row for row in rows if row["model"] in models]
    compared = [{**row, "run": f"{FOLDER}/{row['run']}"} for row in timed]
    scopes = (comparable.Scope.ALL, comparable.Scope.MODEL)
    differ = comparable.differences([*alike, *compared], scopes, _FREE)
    differ += comparable.differences(compared, (comparable.Scope.TIME,))
    if differ:
        raise records.RecordError(f"{part}: the runs differ in {differ[0]}")


def _with_speed(row: rows_lib.Row, timed: rows_lib.Row | None) -> dict[str, Any]:
    merged = {**row, **dict.fromkeys(rows_lib.SPEED_COLUMNS)}
    if timed is not None:
        merged |= {column: timed[column] for column in rows_lib.SPEED_COLUMNS}
        merged["speed_run"] = f"{FOLDER}/{timed['run']}"
    return merged | {"training_seconds": rows_lib.training_seconds(merged)}
