"""Renders the report as a self-contained HTML page."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import html
from typing import Any

from clinometer.tools.report import analysis
from clinometer.tools.report import downstream
from clinometer.tools.report import downstream_cells
from clinometer.tools.report import findings as findings_lib
from clinometer.tools.report import formats
from clinometer.tools.report import page_assets
from clinometer.tools.report import page_claims
from clinometer.tools.report import page_conditions
from clinometer.tools.report import page_downstream
from clinometer.tools.report import page_findings
from clinometer.tools.report import page_tables
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.study.claims import verdicts


@dataclasses.dataclass(frozen=True)
class Content:
    """The content of the page. Nothing in it depends on the time or the folder.

    Attributes:
        rows: rows of the table of runs.
        claims: the claims with their verdicts.
        findings: what the study found.
        fits: straight lines against each cost.
        downstream: downstream scores.
        cells: means of the downstream scores over seeds.
        figures: key -> inline SVG.
        lost: names of runs without a record.
        warnings: sentences to show at the top.
        command: the command that started the study, if there is a study.
    """

    rows: Sequence[rows_lib.Row]
    claims: Sequence[verdicts.Judged]
    findings: findings_lib.Findings
    fits: Sequence[analysis.CostFit]
    downstream: Sequence[downstream.FinetuningScore]
    cells: Sequence[downstream_cells.Cell]
    figures: Mapping[str, str]
    lost: Sequence[str]
    warnings: Sequence[str]
    command: str | None


def render(content: Content) -> str:
    """Returns the HTML of the page, with all names escaped."""
    names = sorted({row["architecture"] for row in content.rows})
    sections = [
        *(_section(*part) for part in page_findings.sections(content.findings)),
        _section("Straight lines", _LINES + page_tables.slopes(content.fits)),
        _section("Loss against cost", _cost_figures(content)),
        _section("Runs", page_tables.runs(content.rows) + _left_out(content.fits)),
        _section("What the runs have in common", page_conditions.render(content.rows)),
        _section("Upstream and downstream", _downstream(content)),
        _section("Loss curves", _wide(content.figures.get("loss_curves"), _CURVES)),
        _section(
            "Speed", page_tables.speed(content.rows) + f'<p class="note">{_SPEED}</p>'
        ),
        _section(
            "Wall time by activity", _wide(content.figures.get("time_breakdown"), _TIME)
        ),
        _section("All variants of the slope", _variants(content)),
        _section("Provenance", _provenance(content)),
    ]
    title = f"Scaling of {', '.join(names)}"
    warnings = "".join(f"<li>{html.escape(text)}</li>" for text in content.warnings)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
{page_assets.STYLE}
</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
<p class="lead">{html.escape(_lead(content))}</p>
{page_claims.render(content.claims)}
{_headlines(content.findings)}
{f'<ul class="warnings">{warnings}</ul>' if warnings else ""}
{"".join(sections)}
</main>
<script>
{page_assets.SCRIPT}
</script>
</body>
</html>
"""


_CURVES = (
    "Lines: training loss, as logged. Hollow markers: validation loss on the whole "
    "validation set. The initial drop of the loss is cut off at the top."
)
_TIME = (
    "Compilation, input wait, training steps, evaluation, checkpoints and everything "
    "else, as measured by the trainer."
)
_SPEED = (
    "Median and interquartile range over windows that end in a device sync, excluding "
    "compilation, evaluation and checkpoints. Tokens are encoder and decoder "
    "positions, including padding. A run is marked noisy, and left out of fits against "
    "time, if the standard error of the median exceeds 2 %, or if it was measured "
    "beside other work: if other processes kept it off its cores for more than 2 % of "
    "the time or used more than half a core of the host. MFU is the FLOP/s "
    "of the train step's matrix products as a fraction of the published peak of the "
    "device. The next column is the same as a fraction of the FLOP/s of a large matrix "
    "product, measured on this machine before the run; the drift is its change from "
    "before the run to after it."
)


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{html.escape(title)}</h2>\n{body}\n</section>\n"


def _lead(content: Content) -> str:
    statuses = [row["status"] for row in content.rows]
    statuses += ["without a record"] * len(content.lost)
    others = "".join(
        f", {statuses.count(status)} {status}"
        for status in dict.fromkeys(statuses)
        if status != "finished"
    )
    first, sizes = content.rows[0], len({row["model"] for row in content.rows})
    length = f"{first['encoder_length']}/{first['decoder_length']}"
    return (
        f"{statuses.count('finished')} of {len(statuses)} runs finished{others}, of "
        f"{sizes} models, pretrained by span corruption for {first['train_steps']} "
        f"steps with {first['batch_size']} sequences of {length} tokens "
        "(encoder/decoder) per batch. Losses are in nats per token."
    )


def _left_out(fits: Sequence[analysis.CostFit]) -> str:
    """Renders the runs that fits leave out, and why."""
    costs: dict[tuple[str, str], list[str]] = {}
    for fit in fits:
        for run, why in fit.left_out.items():
            costs.setdefault((run, why), []).append(fit.cost.per)
    if not costs:
        return ""
    every = len({fit.cost.key for fit in fits})
    items = []
    for (run, why), names in costs.items():
        where = "all fits" if len(names) == every else f"fits of {', '.join(names)}"
        items.append(f"<li>{html.escape(f'{run}, from {where}: {why}')}</li>")
    return f'<p class="note">Left out:</p><ul class="note">{"".join(items)}</ul>'


def _headlines(findings: findings_lib.Findings) -> str:
    """Renders a box with the gain of a study of one architecture.

    Gains over ranges of their own do not compare, so several have no boxes side by
    side.
    """
    if len(findings.gains) != 1:
        return ""
    (gain,) = findings.gains
    if gain.per_decade is None:
        value, words = "no gain", gain.reason or ""
    else:
        value = formats.signed(gain.per_decade.value)
        smallest, largest = (end.name for end in gain.ends)
        interval = "no interval: the error between runs is unknown"
        if gain.per_decade.low is not None:
            shown = formats.interval(gain.per_decade.low, gain.per_decade.high)
            interval = f"95 % interval {shown}"
        words = (
            f"{gain.architecture}: reduction of the validation loss from {smallest} to "
            f"{largest}, in nats per token for 10× the training FLOPs; {interval}."
        )
    return (
        f'<div class="headline"><div class="value">{value}</div>'
        f"<p>{html.escape(words)}</p></div>"
    )


_LINES = (
    '<p class="note">A straight line through the mean losses of the sizes, for '
    "comparison with the papers: by how many nats per token the loss decreases if the "
    "cost increases tenfold, by generalized least squares with the errors of the "
    "means. It licenses nothing: its interval holds only if the relation is straight. "
    "Beside the p-value of the test of lack of fit is its power, the chance to find a "
    "slope that falls two- or threefold over the range. Without an error between runs "
    "the slope is that of ordinary least squares. Slopes against different costs are "
    "different quantities and cannot be compared. RMSE is that of the means around the "
    "line. Theil-Sen is the median slope over pairs of sizes.</p>"
)


def _cost_figures(content: Content) -> str:
    figures = []
    seen = set()
    for fit in content.fits:
        key = fit.cost.key
        if key in seen or key not in content.figures:
            continue
        seen.add(key)
        figures.append(
            f"<figure><h3>{html.escape(fit.cost.title)}</h3>"
            f"{content.figures[key]}</figure>"
        )
    return (
        '<p class="note">Markers: means of the sizes. Dots: runs. Line: the straight '
        "line. Shaded area: its 95 % confidence band, if the relation is straight. "
        "Lower panel: residuals of the means.</p>"
        f'<div class="figures">{"".join(figures)}</div>'
    )


def _wide(figure: str | None, caption: str) -> str:
    if figure is None:
        return '<p class="note">Nothing was logged.</p>'
    return (
        f'<figure class="wide">{figure}<figcaption>{html.escape(caption)}</figcaption>'
        "</figure>"
    )


def _downstream(content: Content) -> str:
    if not content.downstream:
        return (
            '<p class="note">No run was fine-tuned. To fine-tune one, use '
            "<code>clinometer finetune --from RUN</code>.</p>"
        )
    parts = [_wide(content.figures.get("downstream"), page_downstream.CAPTION)]
    if "downstream_by_step" in content.figures:
        by_step = content.figures["downstream_by_step"]
        parts.append(_wide(by_step, page_downstream.CAPTION_BY_STEP))
    parts.append(page_downstream.render(content.downstream, content.cells))
    return "".join(parts)


def _variants(content: Content) -> str:
    laws = page_tables.power_laws(analysis.fit_power_laws(content.fits))
    return (
        '<p class="note">The papers do not state the units of their slopes, so all '
        "usual variants are listed, by ordinary least squares on the mean losses of "
        "the sizes and without intervals. With a logarithm of the loss, the slope is "
        "that of −ln(loss). Standardized variants use z-scores on both axes, so the "
        "slope is the correlation.</p>"
        f"<details><summary>All variants</summary>{page_tables.variants(content.fits)}"
        "</details>"
        f"<details><summary>Residuals of each size</summary>"
        f"{page_tables.residuals(content.fits)}</details>"
        f"<details><summary>Power law with a floor</summary>{laws}</details>"
    )


def _provenance(content: Content) -> str:
    entries: list[tuple[str, str]] = []
    if content.command:
        entries.append(("command", f"<code>{html.escape(content.command)}</code>"))
    for label, function in _PROVENANCE.items():
        values = sorted({str(v) for row in content.rows if (v := function(row))})
        if values:
            entries.append((label, "<br>".join(html.escape(v) for v in values)))
    items = "".join(f"<dt>{html.escape(k)}</dt><dd>{v}</dd>" for k, v in entries)
    return f"<dl>{items}</dl>"


def _versions(row: Mapping[str, Any]) -> str:
    versions = row["versions"] or {}
    return ", ".join(f"{name} {versions[name]}" for name in sorted(versions))


def _revision(row: Mapping[str, Any]) -> str | None:
    changed = " with uncommitted changes" if row["git_dirty"] else ""
    return row["git_revision"] and row["git_revision"] + changed


_PROVENANCE = {
    "processor": lambda row: row["host_cpu"],
    "device": lambda row: (
        f"{row['device_training'] or row['device_count']} × {row['device_kind']} "
        f"({row['device_platform']}), "
        f"{row['device_threads']} thread(s) per run"
    ),
    "versions": _versions,
    "git revision": _revision,
    "corpus hash": lambda row: row["corpus_hash"],
    "corpus": lambda row: (
        f"{row['train_tokens']:,} training tokens, read by Python "
        f"{row['corpus_python_version']}"
        if row["train_tokens"]
        else None
    ),
    "vocabulary": lambda row: row["vocabulary_sha256"],
}
