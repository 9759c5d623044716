"""Builds the page of results of others alone: a CSV file, or a folder of them."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from clinometer.data import paths
from clinometer.tools.report import data_files
from clinometer.tools.report import lead as lead_lib
from clinometer.tools.report import others as others_lib
from clinometer.tools.report import page
from clinometer.tools.report import study_figures
from clinometer.tools.report import study_page
from clinometer.tools.report import theme
from clinometer.tools.report.grids import laws
from clinometer.tools.report.grids import others
from clinometer.tools.report.tables import other_table
from clinometer.tools.report.tables import study_tables


def write(
    sources: Sequence[others_lib.Source], out: paths.AnyPath, parquet: bool = False
) -> paths.AnyPath:
    """Writes the page, its figures and its data.

    Args:
        sources: results of others, one or more.
        out: folder for them.
        parquet: whether to write the tables as Parquet, too.

    Returns:
        The path of report.html.

    Raises:
        OptionError: `parquet`, and pyarrow is not installed.
        OSError: a file cannot be written.
    """
    tables = _tables(sources)
    figures = {"others": study_figures.of_others(tables)}
    html = render(sources, tables, figures)
    study_figures.write(out, figures)
    data_files.write_texts(out, data_files.of_others(sources, tables), parquet)
    paths.write_text(out / "report.html", html)
    return out / "report.html"


def render(
    sources: Sequence[others_lib.Source],
    tables: study_tables.StudyTables,
    figures: Mapping[str, study_figures.Group],
) -> str:
    """Returns the HTML of the page."""
    rows = sum(len(one.frame) for one in sources)
    of = f"{rows} row{'' if rows == 1 else 's'} of {', '.join(o.name for o in sources)}"
    return page.render(
        "imported.html",
        f"Results of others: {', '.join(one.name for one in sources)}",
        tables.looks,
        kicker=of,
        headline=_headline(sources, rows),
        figures=figures,
        grids=study_page.other_grids(sources),
        other_notes=others.notes(sources),
        parts=[_part(i, one) for i, one in enumerate(sources) if one.laws is not None],
    )


def _tables(sources: Sequence[others_lib.Source]) -> study_tables.StudyTables:
    names = [name for one in sources for name in one.frame["architecture"]]
    return study_tables.StudyTables(
        looks=theme.looks(names), tables={"others": other_table.make(sources)}
    )


def _headline(sources: Sequence[others_lib.Source], rows: int) -> str:
    judged = [one for one in sources if one.laws and one.laws.efficient]
    if judged:
        one = max(judged, key=lambda source: len(source.laws.efficient))
        off, known = others.off_frontiers(one), len(one.laws.efficient)
        if 0 < len(off) <= 4:
            verb = "stands" if len(off) == 1 else "stand"
            return (
                f"{' and '.join(off)} {verb} on no downstream frontier, "
                f"{lead_lib.counted(len(off))} of {lead_lib.counted(known)} models"
            )
    return f"{lead_lib.counted(rows).capitalize()} results of others"


def _part(number: int, source: others_lib.Source) -> dict[str, Any]:
    """Returns the laws of a source: its name, and tables that have rows."""
    found = source.laws
    made = {
        "Equation 1 of Tay et al. 2021": laws.equation(
            f"equation_one_{number}", found.equation_one
        ),
        "Held-out errors": laws.held_out(
            f"held_out_{number}", found.left_out, "params_total"
        ),
        "Efficient by the rule of Tay et al. 2021": laws.efficient(
            f"efficient_{number}", found.efficient
        ),
        "Claims of the papers, judged afterwards": laws.claims(
            f"claims_{number}", found.claims
        ),
    }
    return {
        "name": source.name,
        "grids": {title: grid for title, grid in made.items() if grid.body},
    }
