"""Writes the data of a report beside its page: CSV, and Parquet where asked for.

`runs.csv` has a row per run, `downstream.csv` one per score of a fine-tuning, and
`data/NAME.csv` is a table that figures draw from, see `tables/`.
"""

import importlib.util
import io

import pandas as pd

from clinometer.data import paths
from clinometer.kernels.options import errors
from clinometer.tools.report import downstream
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report.grids import grid as grid_lib
from clinometer.tools.report.grids import slopes
from clinometer.tools.report.tables import sources as sources_lib
from clinometer.tools.report.tables import study_tables


def check_parquet() -> None:
    """Raises OptionError unless Parquet files can be written."""
    if importlib.util.find_spec("pyarrow") is None:
        raise errors.OptionError(
            "--parquet: needs pyarrow, which is not installed: pip install "
            "'clinometer[parquet]'"
        )


def write(
    out: paths.AnyPath,
    sources: sources_lib.Sources,
    tables: study_tables.StudyTables,
    parquet: bool,
) -> None:
    """Writes the files.

    Args:
        out: the report's folder.
        sources: what was read.
        tables: what figures draw from; those without rows have no file.
        parquet: whether to write every CSV file as Parquet, too.

    Raises:
        OptionError: `parquet`, and pyarrow is not installed.
    """
    if parquet:
        check_parquet()
    paths.make_folder(out / "data")
    texts = {"runs": rows_lib.write_csv(sources.rows)}
    if sources.scores:
        texts["downstream"] = downstream.write_csv(sources.scores)
    for name, rows in tables.tables.items():
        if rows:
            frame = pd.DataFrame(rows)
            texts[f"data/{name}"] = frame.to_csv(index=False, lineterminator="\n")
    for name, grid in (
        ("variants", slopes.variants(sources.fits)),
        ("residuals", slopes.residuals(sources.fits)),
    ):
        if grid.body:
            texts[f"data/{name}"] = _text(grid)
    for name, text in texts.items():
        paths.write_text(out / f"{name}.csv", text)
        if parquet:
            frame = pd.read_csv(io.StringIO(text))
            paths.write_bytes(out / f"{name}.parquet", frame.to_parquet(index=False))


def _text(grid: grid_lib.Grid) -> str:
    """Returns a table as CSV, with the values that its cells sort by."""
    frame = pd.DataFrame(
        [[cell.value for cell in row] for row in grid.body],
        columns=[head.title for head in grid.heads],
    )
    return frame.to_csv(index=False, lineterminator="\n")
