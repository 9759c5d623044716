"""Writes the data of a report beside its page: CSV, and Parquet where asked for.

`runs.csv` has a row per run, `downstream.csv` one per score of a fine-tuning, and
`data/NAME.csv` is a table that figures draw from, see `tables/`. `laws/NAME.csv` are
the slopes and laws, see `laws/tables.py`; those of results of others are in folders
below, by source.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import importlib.util
import io

import pandas as pd

from clinometer.data import paths
from clinometer.kernels.options import errors
from clinometer.tools.laws import summary
from clinometer.tools.laws import tables as law_tables
from clinometer.tools.report import downstream
from clinometer.tools.report import others as others_lib
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import study_figures
from clinometer.tools.report.grids import grid as grid_lib
from clinometer.tools.report.grids import slopes
from clinometer.tools.report.tables import sources as sources_lib
from clinometer.tools.report.tables import study_tables
from clinometer.tools.results import csv_file


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
    texts = {"runs": rows_lib.write_csv(sources.rows)}
    if sources.scores:
        texts["downstream"] = downstream.write_csv(sources.scores)
    texts |= _tables(tables)
    for name, grid in (
        ("variants", slopes.variants(sources.fits)),
        ("residuals", slopes.residuals(sources.fits)),
    ):
        if grid.body:
            texts[f"data/{name}"] = _text(grid)
    if sources.laws is not None:
        texts |= _laws("laws", sources.laws)
    texts |= of_others(sources.others)
    write_texts(out, texts, parquet)


def of_others(
    sources: Sequence[others_lib.Source],
    tables: study_tables.StudyTables | None = None,
) -> dict[str, str]:
    """Returns the data of results of others: file name without its end -> CSV.

    Args:
        sources: results of others; each has a folder of its own below `laws/`.
        tables: what figures draw from; None if they are written with a study's.
    """
    texts = {} if tables is None else _tables(tables)
    for number, one in enumerate(sources, 1):
        folder = f"laws/{number}-{study_figures.slug(one.name)}"
        texts[f"{folder}/rows"] = csv_file.write(one.frame)
        if one.laws is not None:
            texts |= _laws(folder, one.laws)
        if one.checks:
            checks = law_tables.write(law_tables.text_rows(one.checks))
            texts[f"{folder}/text_checks"] = checks
    return texts


def write_texts(out: paths.AnyPath, texts: Mapping[str, str], parquet: bool) -> None:
    """Writes CSV files.

    Args:
        out: the report's folder.
        texts: path below it without its end -> contents.
        parquet: whether to write each as Parquet, too.

    Raises:
        OptionError: `parquet`, and pyarrow is not installed.
    """
    if parquet:
        check_parquet()
    for name, text in texts.items():
        path = out / f"{name}.csv"
        paths.make_folder(path.parent)
        paths.write_text(path, text)
        if parquet:
            frame = pd.read_csv(io.StringIO(text))
            paths.write_bytes(out / f"{name}.parquet", frame.to_parquet(index=False))


def _tables(tables: study_tables.StudyTables) -> dict[str, str]:
    return {
        f"data/{name}": pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
        for name, rows in tables.tables.items()
        if rows
    }


def _laws(folder: str, found: summary.Laws) -> dict[str, str]:
    return {
        f"{folder}/{name.removesuffix('.csv')}": text
        for name, text in law_tables.of_laws(found).items()
    }


def _text(grid: grid_lib.Grid) -> str:
    """Returns a table as CSV, with the values that its cells sort by."""
    frame = pd.DataFrame(
        [[cell.value for cell in row] for row in grid.body],
        columns=[head.title for head in grid.heads],
    )
    return frame.to_csv(index=False, lineterminator="\n")
