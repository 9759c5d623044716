"""Renders what a study found: gains, sizes, steps and comparisons at equal FLOPs."""

from collections.abc import Sequence
import html
import math

from clinometer.models.architectures import registry
from clinometer.tools.inference import spread
from clinometer.tools.report import findings as findings_lib
from clinometer.tools.report import formats
from clinometer.tools.report import html_table

Cell = html_table.Cell

_GAINS = (
    "From the cheapest size of an architecture to its dearest, in nats per token, and "
    "per tenfold training FLOPs; above 0 the larger is better. Each architecture has a "
    "range of its own, over which a gain falls with the cost, so these numbers do not "
    "compare architectures. The ratio is the standard deviation of the architecture's "
    "runs over the pooled one; where it is far from 1, its intervals are too narrow or "
    "too wide."
)
_SIZES = (
    "Mean validation loss of the runs of each size. Its interval has the variance of a "
    "run from all replicates of the study; runs of one size are no independent points "
    "of a line."
)
_STEPS = (
    "One-sided tests against “no gain”, adjusted by Holm over the steps of an "
    "architecture: the chance to call any step better that is not is 5 % at most."
)
_COMPARED = (
    "Equal width is not equal compute, so losses are read at equal training FLOPs, at "
    "both ends of the range that both architectures cover. Level: loss less that of "
    "{reference}, averaged over the ends; below 0 the architecture is better. "
    "Difference of gain: by how much more it gains over the range than {reference}; "
    "above 0 it gains more. The intervals of each of these two columns hold for all "
    "architectures together with a probability of 95 %."
)
_FACTORS = (
    "Multiplier: how many times the training FLOPs of {reference} the architecture "
    "needs for the same loss; it is the average over the shared range, by what "
    "{reference} gains over it. It holds 1 exactly where the level holds 0. Beside it "
    "stands the same level by {reference}'s steps at both ends. A change of sign needs "
    "one-sided tests at both ends (p adjusted by Holm over the architectures)."
)


def sections(findings: findings_lib.Findings) -> list[tuple[str, str]]:
    """Renders the findings; returns pairs of a heading and HTML."""
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in findings.notes)
    return [
        ("Gain with size", f'<ul class="note">{notes}</ul>' + _gains(findings.gains)),
        ("Mean loss of each size", _note(_SIZES) + _sizes(findings.sizes)),
        ("Is each size better than the previous one?", _steps(findings.steps)),
        ("At equal training FLOPs", _comparisons(findings)),
    ]


def _note(text: str) -> str:
    named = text.format(reference=registry.REFERENCE)
    return f'<p class="note">{html.escape(named)}</p>'


def _gains(gains: Sequence[findings_lib.Gain]) -> str:
    heads = (
        "architecture",
        "from",
        "to",
        "training FLOPs",
        "gain",
        "95 % interval",
        "per 10× FLOPs",
        "95 % interval",
        "sd ratio",
    )
    body = []
    for one in gains:
        cells = [html_table.text(one.architecture)]
        if one.gain is None:
            body.append([*cells, *[Cell("–")] * 4, Cell(one.reason or "", wrap=True)])
            body[-1] += [Cell("–")] * (len(heads) - len(body[-1]))
            continue
        smallest, largest = one.ends
        cells += [
            html_table.text(smallest.name),
            html_table.text(largest.name),
            Cell(f"{formats.si(smallest.flops)} to {formats.si(largest.flops)}"),
            *_estimate(one.gain, 4),
            *(_estimate(one.per_decade, 4) if one.per_decade else [Cell("–")] * 2),
            Cell(_ratio(one.spread)),
        ]
        body.append(cells)
    if not body:
        return ""
    return _note(_GAINS) + html_table.table(heads, body, text_columns=(0, 1, 2))


def _ratio(ratio: spread.SpreadRatio | None) -> str:
    if ratio is None or math.isnan(ratio.ratio):
        return "–"
    return f"{ratio.ratio:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _sizes(sizes: Sequence[findings_lib.Size]) -> str:
    heads = (
        "architecture",
        "size",
        "d_model",
        "training FLOPs",
        "runs",
        "orders",
        "mean loss",
        "95 % interval",
        "sd of a run",
    )
    body = [
        (
            html_table.text(one.cell.architecture),
            html_table.text(one.cell.name),
            Cell(str(one.cell.width), one.cell.width),
            Cell(formats.si(one.cell.flops), one.cell.flops),
            Cell(str(one.runs), one.runs),
            Cell(str(one.orders), one.orders),
            Cell(f"{one.mean.value:.4f}", one.mean.value),
            Cell(_plain_interval(one.mean)),
            Cell(formats.fixed(one.sd, 4), "" if one.sd is None else one.sd),
        )
        for one in sizes
    ]
    return html_table.table(heads, body, text_columns=(0, 1), sortable=True)


def _plain_interval(estimate: findings_lib.Estimate) -> str:
    if estimate.low is None:
        return "–"
    return f"{estimate.low:.4f} to {estimate.high:.4f}"


def _steps(steps: Sequence[findings_lib.SizeStep]) -> str:
    if not steps:
        return '<p class="note">There are no two sizes to compare.</p>'
    verdicts = {True: "yes", False: "no", None: "error unknown"}
    body = [
        (
            html_table.text(step.smaller.architecture),
            html_table.text(step.smaller.name),
            html_table.text(step.larger.name),
            Cell(formats.signed(step.gain, 4), step.gain),
            Cell(formats.fixed(step.standard_error, 4)),
            Cell(formats.p_value(step.p_value)),
            Cell(verdicts[step.clear], tag=not step.clear),
        )
        for step in steps
    ]
    heads = (
        "architecture",
        "from",
        "to",
        "gain",
        "standard error",
        "p, adjusted",
        "clearly better",
    )
    return _note(_STEPS) + html_table.table(heads, body, text_columns=(0, 1, 2, 6))


def _comparisons(findings: findings_lib.Findings) -> str:
    if not findings.compared:
        return _note("There is no other architecture to compare with {reference}.")
    done = [one for one in findings.compared if one.level is not None]
    lost = [one for one in findings.compared if one.level is None]
    parts = []
    if done:
        parts += [_note(_COMPARED), _note(margin_note(findings)), _levels(done)]
    if any(one.multiplier for one in done):
        parts += [_note(_FACTORS), _factors(done)]
    if lost:
        items = "".join(
            f"<li>{html.escape(f'{one.architecture}: {one.reason}')}</li>"
            for one in lost
        )
        parts.append(f'{_note("Not compared:")}<ul class="note">{items}</ul>')
    return "".join(parts)


def margin_note(findings: findings_lib.Findings) -> str:
    """Says which margin was committed, beside the reference's last step."""
    if findings.margin is None:
        return (
            "No margin was committed before the runs, so no two architectures are "
            "called equivalent."
        )
    last = [
        step
        for step in findings.steps
        if step.smaller.architecture == registry.REFERENCE
    ]
    beside = ""
    if last:
        step = last[-1]
        beside = (
            f"; the last step of {registry.REFERENCE}, from {step.smaller.name} to "
            f"{step.larger.name}, is {formats.signed(step.gain, 4)}"
        )
    return (
        f"Margin, committed before the runs: {findings.margin:.4f} nats{beside}. "
        "Equivalent: the interval lies inside ± the margin and holds 0."
    )


def _levels(compared: Sequence[findings_lib.Compared]) -> str:
    heads = (
        "architecture",
        "training FLOPs",
        "level",
        "95 % interval",
        "",
        "difference of gain",
        "95 % interval",
        "",
    )
    body = [
        (
            html_table.text(one.architecture),
            Cell(" to ".join(map(formats.si, one.ends))),
            *_estimate(one.level.estimate, 4),
            html_table.text(one.level.outcome or "error unknown"),
            *_estimate(one.gain.estimate, 4),
            html_table.text(one.gain.outcome or "error unknown"),
        )
        for one in compared
    ]
    return html_table.table(heads, body, text_columns=(0, 4, 7))


def _factors(compared: Sequence[findings_lib.Compared]) -> str:
    heads = (
        "architecture",
        "multiplier, average",
        "by the step at the low end",
        "by the step at the high end",
        "change of sign",
        "p, adjusted",
    )
    body = [
        (
            html_table.text(one.architecture),
            Cell(str(one.multiplier.average), wrap=True),
            Cell(str(one.multiplier.at_low_end), wrap=True),
            Cell(str(one.multiplier.at_high_end), wrap=True),
            Cell(one.crossing.crossing.value, wrap=True),
            Cell(formats.p_value(one.crossing.p_value)),
        )
        for one in compared
    ]
    return html_table.table(heads, body, text_columns=range(5))


def _estimate(estimate: findings_lib.Estimate, decimals: int) -> list[Cell]:
    """Renders the value and its interval."""
    return [
        Cell(formats.signed(estimate.value, decimals), estimate.value),
        Cell(formats.interval(estimate.low, estimate.high, decimals)),
    ]
