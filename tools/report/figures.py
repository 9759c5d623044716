"""The figures of a folder of runs as Altair charts, for notebooks and scripts.

from clinometer.tools.report import figures
figures.of_folder("runs/mine")["frontier-training-flops"]
"""

from collections.abc import Sequence

import altair as alt

from clinometer.data import paths
from clinometer.tools.report import build
from clinometer.tools.report import study_figures
from clinometer.tools.report import theme
from clinometer.tools.report.tables import study_tables


def of_folder(
    path: paths.PathLike, mixed: Sequence[str] = ()
) -> dict[str, alt.TopLevelMixin]:
    """Returns the name of each figure of the report -> its chart, with its data.

    The charts have the colours of the light theme and are the ones of `figures/`.

    Args:
        path: a study, a folder of runs, or one run.
        mixed: columns of `fit/comparable.py` in which the runs of a fit may differ.

    Raises:
        RecordError: there are no runs, or a record cannot be read.
        FitError: the runs differ in a condition that is not in `mixed`.
        ClaimsError: the claims are not those of the runs, or cannot be judged.
        StudyError: study.json, which has the passes of the claims, cannot be read.
    """
    tables = study_tables.make(build.read(paths.parse(path), mixed))
    return {
        one.name: alt.Chart.from_dict(theme.light(one.complete()))
        for one in study_figures.all_of(study_figures.make(tables))
    }
