"""Builds runs.csv, downstream.csv, report.html and figures/ from a folder of runs."""

from collections.abc import Sequence
import dataclasses
import html

from clinometer.data import paths
from clinometer.kernels.options import ranges
from clinometer.tools.report import analysis
from clinometer.tools.report import copies
from clinometer.tools.report import downstream
from clinometer.tools.report import downstream_cells
from clinometer.tools.report import downstream_figures
from clinometer.tools.report import figures
from clinometer.tools.report import findings as findings_lib
from clinometer.tools.report import health
from clinometer.tools.report import page
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import study_fit
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
    """

    page: paths.AnyPath
    table: paths.AnyPath
    rows: Sequence[rows_lib.Row]
    claims: Sequence[verdicts.Judged]
    findings: findings_lib.Findings
    fits: Sequence[analysis.CostFit]


def build(
    directory: paths.AnyPath,
    out: paths.AnyPath | None = None,
    mixed: Sequence[str] = (),
) -> Report:
    """Reads the runs in `directory` and writes their report to `out`.

    The same records give the same bytes, whatever the paths of the folders.

    Args:
        directory: a study, a folder of runs, or one run.
        out: folder for runs.csv, report.html and figures/, and for downstream.csv if
            runs were fine-tuned; by default `directory`.
        mixed: columns of `fit/comparable.py` in which the runs of a fit may differ.

    Raises:
        RecordError: there are no runs, all may still finish, or a record cannot be
            read.
        FitError: the runs differ in a condition that is not in `mixed`.
        ClaimsError: the claims are not those of the runs, or cannot be judged.
        StudyError: study.json, which has the passes of the claims, cannot be read.
    """
    runs = records.load_runs(directory)
    scores = downstream.read(runs)
    final = downstream.final(scores)
    average = next(iter(downstream.shared_averages(final)), None)
    made = (
        rows_lib.make_row(run, average and downstream.of_run(final, run.name, average))
        for run in runs
    )
    rows = copies.mark(sorted(made, key=rows_lib.order))
    place = {row["run"]: index for index, row in enumerate(rows)}
    scores.sort(key=lambda score: place[score.run])
    if not any(row["status"] in ("finished", "failed") for row in rows):
        listed = ", ".join(f"{row['run']} ({row['status']})" for row in rows)
        raise records.RecordError(
            f"{directory}: no finished run to report: {listed}. To resume them, give "
            "the command that started them again."
        )
    judgement = verdicts.of_folder(directory, runs, rows)
    study = study_fit.of_rows(rows, mixed)
    margin = judgement.margin
    if margin is None:
        margin = folder.margin(directory)
    findings = findings_lib.find(study, margin)
    fits = analysis.fit_all(rows, study, mixed)
    lost = records.lost_runs(directory)
    by_name = {run.name: run for run in runs}
    metrics = {row["run"]: by_name[row["run"]].metrics() for row in rows}
    drawn = _draw(rows, fits, metrics) | downstream_figures.draw(scores)
    content = page.Content(
        rows=rows,
        claims=judgement.claims,
        findings=findings,
        fits=fits,
        downstream=scores,
        cells=downstream_cells.cells(scores, rows),
        figures={
            key: figures.inline(svg, html.escape(key.replace("_", " ")))
            for key, svg in drawn.items()
        },
        lost=lost,
        warnings=[*judgement.warnings, *health.warnings(rows, metrics, lost, mixed)],
        command=_command(directory),
    )
    out = directory if out is None else out
    paths.make_folder(out / "figures")
    for key, svg in drawn.items():
        paths.write_text(out / "figures" / f"{key}.svg", svg)
    paths.write_text(out / "runs.csv", rows_lib.write_csv(rows))
    if scores:
        paths.write_text(out / "downstream.csv", downstream.write_csv(scores))
    paths.write_text(out / "report.html", page.render(content))
    return Report(
        page=out / "report.html",
        table=out / "runs.csv",
        rows=rows,
        claims=judgement.claims,
        findings=findings,
        fits=fits,
    )


def _draw(
    rows: Sequence[rows_lib.Row],
    fits: Sequence[analysis.CostFit],
    metrics: dict[str, list[dict]],
) -> dict[str, str]:
    drawn = {}
    for key in dict.fromkeys(fit.cost.key for fit in fits):
        mine = [fit for fit in fits if fit.cost.key == key]
        if any(fit.points for fit in mine):
            drawn[key] = figures.loss_against_cost(mine)
    curves = {name: _curve(lines, "train/loss") for name, lines in metrics.items()}
    curves = {name: curve for name, curve in curves.items() if curve}
    if curves:
        checks = {n: _curve(metrics[n], "validation/loss") for n in curves}
        drawn["loss_curves"] = figures.loss_curves(curves, checks)
    timed = [row for row in rows if row["wall_step_seconds"] is not None]
    if timed:
        drawn["time_breakdown"] = figures.time_breakdown(timed)
    return drawn


def _curve(lines: Sequence[dict], key: str) -> list[tuple[int, float]]:
    """Returns the (step, value) pairs of a metric where it is finite."""
    return [
        (line["step"], line[key])
        for line in lines
        if isinstance(line.get(key), int | float) and abs(line[key]) < float("inf")
    ]


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
