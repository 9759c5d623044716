"""Folders of runs and rows of results as a pandas frame, which fits and claims take.

In a notebook:

    from clinometer.tools.results import frame
    runs = frame.read("runs/mine")  # or a CSV file, or a folder with imported ones
    runs[["model", "params_total", "validation_loss_nats", "left_out"]]

The columns are documented in `columns`. A row is a run, finished or not; a branch of
another run is a run of its own, whose tokens include those before the branch.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import statistics

import pandas as pd

from clinometer.data import paths
from clinometer.tools.report import copies
from clinometer.tools.report import downstream
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import selection
from clinometer.tools.report import speeds
from clinometer.tools.results import csv_file
from clinometer.tools.results import errors
from clinometer.tools.results import table
from clinometer.train.downstream import best_scores
from clinometer.train.run import directory as run_directory

IMPORTED = "imported"  # Folder of imported CSV files, below a folder of runs.
_DEPTH = 2


def read(path: paths.PathLike, mixed: Sequence[str] = ()) -> pd.DataFrame:
    """Reads runs.

    Args:
        path: a folder of runs, with or without imported files, or a CSV file.
        mixed: see `csv_file.read`.

    Returns:
        A frame with a row per run.

    Raises:
        ResultsError: there is nothing to read, or a CSV file cannot be used.
        RecordError: a record cannot be read.
    """
    path = paths.parse(path)
    if paths.is_file(path):
        return csv_file.read(path, mixed)
    if not paths.is_folder(path):
        raise errors.ResultsError(f"{path}: no such folder or file")
    parts = []
    if has_runs(path):
        parts.append(of_folder(path))
    imported = path / IMPORTED
    names = paths.names(imported) if paths.is_folder(imported) else []
    parts += [csv_file.read(imported / n, mixed) for n in names if n.endswith(".csv")]
    if not parts:
        raise errors.ResultsError(
            f"{path}: no run and no imported file found; accepted: a folder of runs, "
            "one that `clinometer import-results` wrote, or a CSV file"
        )
    return table.joined(parts)


def has_runs(directory: paths.AnyPath) -> bool:
    """Returns whether a folder has run directories."""
    return bool(run_directory.find(directory, _DEPTH))


def of_folder(directory: paths.AnyPath) -> pd.DataFrame:
    """Reads the run directories of a folder, with the scores of their fine-tunings.

    Args:
        directory: a study, a folder of runs, or one run.

    Raises:
        RecordError: there is no run, or a record cannot be read.
    """
    runs = records.load_runs(directory)
    scores = downstream.read(runs)
    made = (rows_lib.make_row(run) for run in runs)
    rows = copies.mark(sorted(made, key=rows_lib.order))
    return of_rows(speeds.taken_apart(directory, rows), scores)


def of_rows(
    rows: Sequence[rows_lib.Row], scores: Iterable[downstream.FinetuningScore] = ()
) -> pd.DataFrame:
    """Returns the frame of a report's table of runs.

    Args:
        rows: rows of the table of runs, with `copy_of`.
        scores: of their fine-tunings, from `downstream.read`. A task that a run was
            fine-tuned on with several settings has no score.
    """
    final = downstream.final(scores)
    names = downstream.shared_averages(final)
    made = []
    for row in rows:
        more = {"published": False, "left_out": selection.why_left_out(row, rows)}
        own = [score for score in final if score.run == row["run"]]
        made.append({**row, **more, **_scores(own, row["run"], names)})
    return table.of_records(made)


def _scores(
    own: Sequence[downstream.FinetuningScore], run: str, names: Iterable[str]
) -> dict[str, float | None]:
    """Returns the columns of a run's scores.

    A task that the run was fine-tuned on with several settings has none.
    """
    settings: dict[str, set[str]] = {}
    for score in own:
        settings.setdefault(score.task, set()).add(score.settings)
    found: dict[str, float | None] = {}
    for group in downstream.groups(own):
        task, metric = group[0].name
        if len(settings[task]) > 1:
            continue
        value = statistics.fmean(score.score for score in group)
        if metric != best_scores.SCORE:
            found[f"{metric}_{task}"] = value
            continue
        known = [s.standard_error for s in group if s.standard_error is not None]
        found[f"score_{task}"] = value
        found[f"majority_{task}"] = group[0].majority
        # Seeds share the items, so that their mean has the error of one of them.
        error = statistics.fmean(known) if known else None
        found[f"score_{task}_standard_error"] = error
    for name in names:
        average = downstream.of_run(own, run, name)
        if average is not None and f"score_{name}" not in found:
            found[f"score_{name}"] = average.score
            found[f"score_{name}_standard_error"] = average.sampling_error
    return found
