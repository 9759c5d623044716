"""The rows of a frame: made from mappings, joined, and those that fits may use."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from clinometer.tools.fit import comparable
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.results import columns
from clinometer.tools.results import errors

_OWN = tuple(column.name for column in columns.OWN)


def of_records(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Returns rows as a frame with all documented columns and their types.

    Args:
        rows: column -> value, None if missing.
    """
    found = dict.fromkeys(name for row in rows for name in row)
    more = [
        name
        for name in found
        if name.startswith(("score_", "likelihood_", "majority_"))
    ]
    names = list(dict.fromkeys((*rows_lib.COLUMNS, *_OWN, *more)))
    made = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if columns.kind(name) is columns.Kind.NUMBER:
            made[name] = np.array(
                [np.nan if value is None else value for value in values], np.float64
            )
        else:
            made[name] = pd.Series(values, dtype=object)
    return pd.DataFrame(made)


def joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Joins frames.

    Raises:
        ResultsError: two of them have a run of the same name.
    """
    rows = [row for part in parts for row in to_records(part)]
    names: set[str] = set()
    for row in rows:
        if row["run"] in names:
            raise errors.ResultsError(
                f"two sources have a run named {row['run']!r}; names must be unique"
            )
        names.add(row["run"])
    return of_records(rows)


def to_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns the rows as mappings, with None for missing values."""
    return [
        {key: None if _missing(value) else value for key, value in row.items()}
        for row in frame.to_dict("records")
    ]


def usable(frame: pd.DataFrame, *needed: str) -> pd.DataFrame:
    """Returns the rows that fits may use and that have the needed columns.

    Args:
        frame: a frame of runs.
        *needed: columns without missing values.
    """
    kept = frame[frame["left_out"].isna()]
    absent = [name for name in needed if name not in kept]
    if absent:
        return kept.iloc[:0]
    return kept.dropna(subset=list(needed))


def check_comparable(frame: pd.DataFrame, mixed: Sequence[str] = ()) -> None:
    """Checks that all usable rows with a loss may stand in one fit.

    Raises:
        FitError: they differ in a condition that is not in `mixed`.
    """
    comparable.check_comparable(
        to_records(usable(frame, "validation_loss_nats")), mixed
    )


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))
