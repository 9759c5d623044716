"""The published rows that ship with Clinometer, marked as published.

`published.csv` holds what could be recovered of the tables of Tay et al. 2021, each row
with the table it is from; `printed_*` is as printed and rounded, and parameters and
multiply-adds without this prefix are computed from the model's name. Two of the printed
multiply-adds, those of XL and XXL, disagree with the convention that fits all others.
`published_slopes.csv` holds the slopes of Tay et al. 2022 that could be recovered, at
second hand.
"""

import csv
import dataclasses
import functools
import io
import pathlib

import pandas as pd

from clinometer.tools.results import csv_file

_FOLDER = pathlib.Path(__file__).parent
FILE = _FOLDER / "published.csv"
_SLOPES = _FOLDER / "published_slopes.csv"
# The papers' own sizes in Table 4 that were trained on one number of chips.
T5_SIZES = ("Small", "Base", "Large", "XL")


@dataclasses.dataclass(frozen=True)
class PublishedSlope:
    """A slope of Tay et al. 2022, whose units are not stated.

    Attributes:
        architecture: the architecture.
        pair: "F,U", "F,D", "P,U", "P,D" or "U,D".
        slope: as printed.
        source: where it was read.
    """

    architecture: str
    pair: str
    slope: float
    source: str


@functools.cache
def _all() -> pd.DataFrame:
    return csv_file.read(FILE)


def rows() -> pd.DataFrame:
    """Returns all published rows."""
    return _all().copy()


def of_table(number: int) -> pd.DataFrame:
    """Returns the rows of a table of Tay et al. 2021, in its order.

    Args:
        number: of the table, 1 and 3 to 6.
    """
    found = rows()
    chosen = found["source"] == f"Tay et al. 2021, Table {number}"
    return found[chosen].reset_index(drop=True)


def t5_sizes() -> pd.DataFrame:
    """Returns the rows of Table 4 that are the sizes of `T5_SIZES`, small to large."""
    found = of_table(4)
    names = [f"Table 4: {size}" for size in T5_SIZES]
    return found.set_index("run", drop=False).loc[names].reset_index(drop=True)


@functools.cache
def slopes() -> tuple[PublishedSlope, ...]:
    """Returns the published slopes that could be recovered."""
    text = _SLOPES.read_text(encoding="utf-8")
    return tuple(
        PublishedSlope(
            row["architecture"], row["pair"], float(row["slope"]), row["source"]
        )
        for row in csv.DictReader(io.StringIO(text))
    )
