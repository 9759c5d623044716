"""Renders the summary that a study prints when it ends."""

from collections.abc import Sequence

from clinometer.kernels import terminal
from clinometer.models.architectures import registry
from clinometer.tools.report import build
from clinometer.tools.report import fewshot
from clinometer.tools.report import findings as findings_lib
from clinometer.tools.report import formats
from clinometer.tools.report import lead as lead_lib
from clinometer.tools.report import rows as rows_lib
from clinometer.train.fewshot import names


def render(report: build.Report) -> str:
    """Returns the summary of a report as text.

    It lists the runs, the claims, the gain of each architecture with size, the steps
    between neighboring sizes, the comparisons at equal training FLOPs, few-shot
    accuracies and the paths of the report.
    """
    found = report.findings
    notes = [*found.notes, *([] if report.claims else [lead_lib.DEMONSTRATION])]
    lines = [
        _runs(report.rows),
        *(judged.told for judged in report.claims),
        *map(_gain, found.gains),
        *map(_step, found.steps),
        *map(_compared, found.compared),
        *map(_fewshot, fewshot.means(report.fewshot)),
        *map(_fewshot, fewshot.differences(report.fewshot)),
        *(f"Note: {note}" for note in notes),
        f"report: {report.page}",
        f"table:  {report.table}",
    ]
    return "\n".join(lines)


def _runs(rows: Sequence[rows_lib.Row]) -> str:
    head = (
        "run",
        "params",
        "FLOPs",
        "FLOPs/batch",
        "steps/s",
        "val. loss",
        "downstream",
        "time",
    )
    body = [
        (
            row["run"],
            formats.si(row["params_total"]),
            formats.si(row["training_flops"]),
            formats.si(row["flops_forward"]),
            formats.significant(row["steps_per_second_median"])
            + (" noisy" if row["speed_noisy"] else ""),
            formats.fixed(row["validation_loss_nats"], 4)
            if row["status"] == "finished"
            else row["status"],
            formats.fixed(row["downstream_score"], 1),
            formats.duration(row["wall_total_seconds"]),
        )
        for row in rows
    ]
    return "\n".join(terminal.table(body, head))


def _gain(gain: findings_lib.Gain) -> str:
    if gain.per_decade is None:
        return f"{gain.architecture}: no gain: {gain.reason}"
    smallest, largest = (end.name for end in gain.ends)
    return (
        f"{gain.architecture}: {_estimate(gain.gain)} nats from {smallest} to "
        f"{largest}, {_estimate(gain.per_decade)} per 10x training FLOPs"
    )


def _step(step: findings_lib.SizeStep) -> str:
    words = {True: "better", False: "NOT clearly better", None: "error unknown"}
    error = ""
    if step.p_value is not None:
        error = (
            f" (standard error {step.standard_error:.4f}, adjusted p "
            f"{formats.p_value(step.p_value)})"
        )
    change = "lower" if step.gain >= 0 else "higher"
    return (
        f"{step.larger.label} vs. {step.smaller.name}: loss {change} by "
        f"{abs(step.gain):.4f}{error}, {words[step.clear]}"
    )


def _compared(one: findings_lib.Compared) -> str:
    where = f"{one.architecture} vs. {registry.REFERENCE} at equal training FLOPs"
    if one.level is None:
        return f"{where}: not compared: {one.reason}"
    told = f"{where}: difference of loss {_estimate(one.level.estimate)} nats"
    if one.level.outcome is not None:
        told += f", {one.level.outcome}; needs FLOPs: {one.multiplier.average}"
    return told


def _fewshot(one: fewshot.Estimate) -> str:
    error = "error unknown"
    if one.low is not None:
        error = f"{one.low:.1f} to {one.high:.1f}"
    what = f"{one.model} less {one.less}" if one.less else one.model
    counted = f"{one.runs} {'pair' if one.less else 'run'}{'s' * (one.runs != 1)}"
    return (
        f"{what}: {one.shots}-shot {one.value:.1f} % ({error}), "
        f"{names.TITLES[one.kind]}, {counted}"
    )


def _estimate(estimate: findings_lib.Estimate) -> str:
    shown = formats.signed(estimate.value, 4)
    if estimate.low is None:
        return shown
    return f"{shown} ({formats.interval(estimate.low, estimate.high, 4)})"
