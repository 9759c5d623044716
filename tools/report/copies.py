"""Recognises runs that occur more than once, such as a copied run directory.

A run is determined by its configuration, its seed and its order of the data. Two runs
that share all of them are one run, however many folders hold it, so they are no
replicates of each other.
"""

from collections.abc import Sequence
from typing import Any

from clinometer.tools.fit import comparable
from clinometer.tools.report import rows as rows_lib

_RESULTS = ("validation_loss_nats", "train_loss_nats")


def mark(rows: Sequence[rows_lib.Row]) -> list[dict[str, Any]]:
    """Returns the rows with `copy_of` set for every repetition of a finished run.

    The run that was started first, or else has the first name, is the one that counts.

    Args:
        rows: rows of the table of runs.
    """
    groups: dict[tuple[Any, ...], list[rows_lib.Row]] = {}
    for row in sorted(rows, key=lambda row: (row["started_at"] or "", row["run"])):
        if row["status"] == "finished":
            identity = (*comparable.cell(row), row["seed"], row["data_order"])
            groups.setdefault(identity, []).append(row)
    kept = {again["run"]: first for first, *more in groups.values() for again in more}
    return [
        {**row, "copy_of": kept[row["run"]]["run"] if row["run"] in kept else None}
        for row in rows
    ]


def describe(row: rows_lib.Row, kept: rows_lib.Row) -> str:
    """Says what a repetition is, e.g. "a copy of a (...)".

    Args:
        row: a row with `copy_of`.
        kept: the row of that run.
    """
    same = all(row[column] == kept[column] for column in _RESULTS)
    what = "same configuration, seed and order of the data"
    if same and row["started_at"] == kept["started_at"]:
        return f"a copy of {kept['run']} ({what}, same start and losses)"
    losses = "same losses" if same else "other losses, as on another machine"
    return f"{kept['run']} once more ({what}, {losses}), not a replicate"
