"""Builds the report of a folder of runs: tables, figures and the page."""

from collections.abc import Sequence
import dataclasses

from clinometer.data import paths
from clinometer.kernels.options import ranges
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.laws import frontiers
from clinometer.tools.laws import points
from clinometer.tools.laws import summary
from clinometer.tools.report import analysis
from clinometer.tools.report import copies
from clinometer.tools.report import costs
from clinometer.tools.report import data_files
from clinometer.tools.report import downstream
from clinometer.tools.report import downstream_cells
from clinometer.tools.report import fewshot
from clinometer.tools.report import findings as findings_lib
from clinometer.tools.report import health
from clinometer.tools.report import others
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import speeds
from clinometer.tools.report import study_figures
from clinometer.tools.report import study_fit
from clinometer.tools.report import study_page
from clinometer.tools.report.tables import sources as sources_lib
from clinometer.tools.report.tables import study_tables
from clinometer.tools.results import frame as frame_lib
from clinometer.tools.study import folder
from clinometer.tools.study.claims import verdicts
from clinometer.train.run import json_file


@dataclasses.dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        page: path of report.html.
        table: path of runs.csv.
        rows: rows of the table of runs.
        claims: the claims with their verdicts.
        findings: what the study found.
        fits: straight lines against each cost.
        fewshot: few-shot accuracies of runs on images.
    """

    page: paths.AnyPath
    table: paths.AnyPath
    rows: Sequence[rows_lib.Row]
    claims: Sequence[verdicts.Judged]
    findings: findings_lib.Findings
    fits: Sequence[analysis.CostFit]
    fewshot: Sequence[fewshot.Score]


def build(
    directory: paths.AnyPath,
    out: paths.AnyPath | None = None,
    mixed: Sequence[str] = (),
    parquet: bool = False,
    overlays: Sequence[str] = (),
) -> Report:
    """Reads the runs in `directory` and writes their report to `out`.

    The same records give the same bytes, whatever the paths of the folders.

    Args:
        directory: a study, a folder of runs, or one run.
        out: folder for report.html, runs.csv, models.csv and figures/, and for
            downstream.csv if runs were fine-tuned; by default `directory`.
        mixed: columns of `fit/comparable.py` in which the runs of a fit may differ.
        parquet: whether to write the tables as Parquet, too.
        overlays: see `others.read`.

    Raises:
        ResultsError: a file of results of others cannot be used.
        RecordError: there are no runs, or a record cannot be read.
        FitError: the runs differ in a condition that is not in `mixed`.
        ClaimsError: the claims are not those of the runs, or cannot be judged.
        StudyError: study.json, which has the passes of the claims, cannot be read.
    """
    sources = read(directory, mixed, overlays)
    tables = study_tables.make(sources)
    figures = study_figures.make(tables)
    html = study_page.render(sources, tables, figures)
    out = directory if out is None else out
    study_figures.write(out, figures)
    data_files.write(out, sources, tables, parquet)
    paths.write_text(out / "report.html", html)
    return Report(
        page=out / "report.html",
        table=out / "runs.csv",
        rows=sources.rows,
        claims=sources.claims,
        findings=sources.findings,
        fits=sources.fits,
        fewshot=sources.fewshot,
    )


def page(
    directory: paths.AnyPath,
    mixed: Sequence[str] = (),
    overlays: Sequence[str] = (),
) -> str:
    """Returns the live page of a folder of runs, for its server; writes nothing.

    Args:
        directory: as for `build`.
        mixed: as for `build`.
        overlays: as for `build`.

    Raises:
        RecordError: as `build` raises it, and so are the other errors.
    """
    sources = read(directory, mixed, overlays)
    tables = study_tables.make(sources)
    figures = study_figures.make(tables)
    return study_page.render(sources, tables, figures, live=True)


def read(
    directory: paths.AnyPath,
    mixed: Sequence[str] = (),
    overlays: Sequence[str] = (),
) -> sources_lib.Sources:
    """Reads and analyses the runs of a folder; arguments and errors as for `build`."""
    beside = others.read(directory, overlays)
    runs = records.load_runs(directory)
    scores = downstream.read(runs)
    final = downstream.final(scores)
    average = next(iter(downstream.shared_averages(final)), None)
    made = (
        rows_lib.make_row(run, average and downstream.of_run(final, run.name, average))
        for run in runs
    )
    rows = copies.mark(sorted(made, key=rows_lib.order))
    rows = speeds.taken_apart(directory, rows)
    place = {row["run"]: index for index, row in enumerate(rows)}
    scores.sort(key=lambda score: place[score.run])
    judgement = verdicts.of_folder(directory, runs, rows)
    study = study_fit.of_rows(rows, mixed)
    margin = judgement.margin
    if margin is None:
        margin = folder.margin(directory)
    lost = records.lost_runs(directory)
    laws, found, refused = _laws(rows, scores, mixed)
    by_name = {run.name: run for run in runs}
    metrics = {row["run"]: by_name[row["run"]].metrics() for row in rows}
    return sources_lib.Sources(
        rows=rows,
        metrics=metrics,
        claims=judgement.claims,
        study=study,
        findings=findings_lib.find(study, margin),
        fits=analysis.fit_all(rows, study, mixed),
        scores=scores,
        cells=downstream_cells.cells(scores, rows),
        lost=lost,
        warnings=[
            *judgement.warnings,
            *filter(None, (speeds.described(rows),)),
            *_notes(directory, rows),
            *health.warnings(rows, metrics, lost, mixed),
            *refused,
        ],
        command=_command(directory),
        laws=laws,
        frontiers=found,
        others=beside,
        fewshot=fewshot.read(runs),
    )


def _notes(directory: paths.AnyPath, rows: Sequence[rows_lib.Row]) -> list[str]:
    """Returns what the study says of models that have runs."""
    present = {row["model"] for row in rows}
    notes = folder.notes(directory).items()
    return [f"{model}: {note}" for model, note in notes if model in present]


def _laws(
    rows: Sequence[rows_lib.Row],
    scores: Sequence[downstream.FinetuningScore],
    mixed: Sequence[str],
) -> tuple[summary.Laws | None, list[frontiers.Frontier], list[str]]:
    """Fits the laws; returns them, the frontiers of the loss, and warnings."""
    frame = frame_lib.of_rows(rows, scores)
    names = [cost.column for cost in costs.COSTS]
    try:
        laws = summary.of_frame(frame, mixed=mixed)
        return laws, frontiers.of_frame(frame, names, (points.LOSS,), mixed), []
    except fit_errors.FitError as error:
        return None, [], [f"no laws are fitted: {error}"]


def _command(directory: paths.AnyPath) -> str | None:
    """Returns the command that started the study, from its study.json."""
    path = directory / "study.json"
    if not paths.is_file(path):
        return None
    try:
        command = json_file.read_object(path).get("command")
        if not isinstance(command, str | None):
            raise ValueError(
                f"command is {ranges.shown(command)}; accepted: str or null"
            )
        return command
    except (OSError, ValueError) as error:
        raise records.RecordError(f"{path}: cannot be read ({error})") from error
