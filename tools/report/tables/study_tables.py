"""All tables of a folder of runs together."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from clinometer.tools.report import theme
from clinometer.tools.report.tables import architecture_table
from clinometer.tools.report.tables import law_table
from clinometer.tools.report.tables import line_table
from clinometer.tools.report.tables import model_table
from clinometer.tools.report.tables import other_table
from clinometer.tools.report.tables import run_table
from clinometer.tools.report.tables import score_table
from clinometer.tools.report.tables import sources as sources_lib
from clinometer.tools.report.tables import surface_table

Table = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class StudyTables:
    """The tables that the figures of a study draw from.

    Attributes:
        looks: how each architecture is shown, in the order of figures.
        tables: name -> rows: `models`, `architectures`, `runs`, `curves`, `checks`
            (validation losses of curves), `lines`, `held_out` (errors of laws),
            `measured` and `surfaces` (points and curves of the laws of size and data),
            `scores`, `by_step`, `ranks`, and `others`, results of others.
    """

    looks: dict[str, theme.Look]
    tables: Mapping[str, Table]

    def __getitem__(self, name: str) -> Table:
        """Returns the rows of a table."""
        return self.tables[name]


def make(sources: sources_lib.Sources) -> StudyTables:
    """Makes the tables of a folder of runs."""
    models = model_table.make(sources)
    runs = run_table.make(sources, models)
    curves, checks = run_table.curves(sources, runs)
    measured, surfaces = surface_table.make(sources)
    return StudyTables(
        looks=theme.looks(row["architecture"] for row in sources.rows),
        tables={
            "models": models,
            "architectures": architecture_table.make(sources),
            "runs": runs,
            "curves": curves,
            "checks": checks,
            "lines": line_table.make(sources),
            "held_out": law_table.held_out(sources),
            "measured": measured,
            "surfaces": surfaces,
            "scores": score_table.against_loss(sources, models),
            "by_step": score_table.by_step(sources),
            "ranks": score_table.ranks(models),
            "others": other_table.make(sources.others, models),
        },
    )
