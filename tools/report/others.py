"""Results of others beside a study: imported CSV files and the published rows.

Rows of one source (a paper's table, or a file) are fitted together, and with no others:
neither with the runs of the study nor with those of another source.
"""

from collections.abc import Sequence
import dataclasses

import pandas as pd

from clinometer.data import paths
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.laws import alphas
from clinometer.tools.laws import summary
from clinometer.tools.laws import text_checks
from clinometer.tools.results import csv_file
from clinometer.tools.results import frame as frame_lib
from clinometer.tools.results import published

PUBLISHED = "published"
_TABLE_4 = "Tay et al. 2021, Table 4"


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """The rows of one source.

    Attributes:
        name: of the paper's table, or of the file.
        published: whether its rows were copied from a publication.
        frame: the rows, in their order.
        laws: fitted to them; None if they cannot be fitted.
        reason: why.
        slopes: the five slopes by name of what they are of, such as "T5 sizes, as
            printed"; none without laws.
        checks: what the text of a published table says of its own rows.
        speeds: how well its multiply-adds rank its speeds; None for other sources.
    """

    name: str
    published: bool
    frame: pd.DataFrame
    laws: summary.Laws | None
    reason: str | None
    slopes: tuple[tuple[str, tuple[alphas.Alpha, ...]], ...] = ()
    checks: tuple[text_checks.TextCheck, ...] = ()
    speeds: text_checks.SpeedCheck | None = None


def read(
    directory: paths.AnyPath | None,
    overlays: Sequence[str] = (),
    mixed: Sequence[str] = (),
) -> list[Source]:
    """Reads the results of others.

    Args:
        directory: folder of runs, whose `imported/` is read; None for none.
        overlays: further CSV files, or `PUBLISHED`.
        mixed: columns in which the rows of one source may differ.

    Raises:
        ResultsError: a file cannot be used.
    """
    found = []
    imported = None if directory is None else directory / frame_lib.IMPORTED
    if imported is not None and paths.is_folder(imported):
        names = [n for n in paths.names(imported) if n.endswith(".csv")]
        found += [csv_file.read(imported / name, mixed) for name in sorted(names)]
    for one in overlays:
        path = published.FILE if one == PUBLISHED else paths.parse(one)
        found.append(csv_file.read(path, mixed))
    return [source for frame in found for source in of_frame(frame, mixed)]


def of_frame(frame: pd.DataFrame, mixed: Sequence[str] = ()) -> list[Source]:
    """Returns the sources of a frame of imported rows.

    Args:
        frame: as `csv_file.read` gives it.
        mixed: columns in which the rows of one source may differ.
    """
    groups = frame.groupby("source", sort=False, dropna=False)
    return [
        _source(str(name), rows.reset_index(drop=True), mixed) for name, rows in groups
    ]


def _source(name: str, frame: pd.DataFrame, mixed: Sequence[str]) -> Source:
    is_published = bool(frame["published"].eq(True).all())
    try:
        laws = summary.of_frame(frame, mixed=mixed)
    except fit_errors.FitError as error:
        return Source(name, is_published, frame, None, str(error))
    slopes = [("all rows", laws.alphas), ("all rows, as printed", laws.printed_alphas)]
    checks: list[text_checks.TextCheck] = []
    speeds = None
    if name == _TABLE_4:
        sizes = [f"Table 4: {size}" for size in published.T5_SIZES]
        chosen = frame[frame["run"].isin(sizes)]
        flops, params = alphas.PRINTED
        printed = alphas.fit_all(chosen, None, flops, params, mixed)
        slopes += [
            ("T5 sizes", tuple(alphas.fit_all(chosen, mixed=mixed))),
            ("T5 sizes, as printed", tuple(printed)),
        ]
        try:
            checks = text_checks.of_table(frame)
            speeds = text_checks.of_speeds(table=frame)
        except KeyError:  # A row that a statement needs was taken out.
            checks, speeds = [], None
    kept = tuple((of, tuple(found)) for of, found in slopes if found)
    return Source(name, is_published, frame, laws, None, kept, tuple(checks), speeds)
