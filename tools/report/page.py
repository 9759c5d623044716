"""Renders the report as a self-contained HTML page."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import html
from typing import Any

from clinometer.tools.report import analysis
from clinometer.tools.report import downstream
from clinometer.tools.report import formats
from clinometer.tools.report import page_assets
from clinometer.tools.report import page_conditions
from clinometer.tools.report import page_tables
from clinometer.tools.report import rows as rows_lib


@dataclasses.dataclass(frozen=True)
class Content:
    """The content of the page. Nothing in it depends on the time or the folder.

    Attributes:
        rows: rows of the table of runs.
        fits: slopes against each cost.
        downstream: downstream scores.
        figures: key -> inline SVG.
        lost: names of runs without a record.
        warnings: sentences to show at the top.
        command: the command that started the study, if there is a study.
    """

    rows: Sequence[rows_lib.Row]
    fits: Sequence[analysis.CostFit]
    downstream: Sequence[downstream.FinetuningScore]
    figures: Mapping[str, str]
    lost: Sequence[str]
    warnings: Sequence[str]
    command: str | None


def render(content: Content) -> str:
    """Returns the HTML of the page, with all names escaped."""
    names = sorted({row["architecture"] for row in content.rows})
    sections = [
        _section("Slopes", page_tables.slopes(content.fits) + _slope_notes(content)),
        _section("Loss against cost", _cost_figures(content)),
        _section("Runs", page_tables.runs(content.rows)),
        _section("What the runs have in common", page_conditions.render(content.rows)),
        _section(
            "Is each size better than the previous one?", _separation(content.rows)
        ),
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
    title = f"Scaling slope of {', '.join(names)}"
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
{_headlines(content.fits)}
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
_DOWNSTREAM = (
    "Score after fine-tuning, in percent, against the validation loss before "
    "fine-tuning (lower losses to the right). Error bars: one standard error of the "
    "evaluation set. Dashed lines: majority-class baseline, the score of always "
    "predicting the most common target of the training set."
)
_BY_STEP = "The same scores, fine-tuned from several checkpoints of the pretraining."
_DOWNSTREAM_NOTE = (
    "Each task is scored at its best step. Two scores differ significantly only if "
    "they are more than two standard errors of their difference apart."
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


def _headlines(fits: Sequence[analysis.CostFit]) -> str:
    """Renders a box with the slope against the primary cost for each architecture."""
    boxes = []
    for fit in fits:
        if fit.cost.key != fits[0].cost.key:
            continue
        name = html.escape(fit.architecture)
        if fit.fit is None:
            value, words = "no slope", html.escape(fit.reason or "")
        else:
            value = formats.signed(fit.fit.slope)
            words = (
                f"{name}: reduction of the validation loss, in nats per token, for a "
                f"10× increase in {html.escape(fit.cost.per)}; {_interval(fit)}."
            )
        boxes.append(
            f'<div class="headline"><div class="value">{value}</div>'
            f"<p>{words}</p></div>"
        )
    return "\n".join(boxes)


def _interval(fit: analysis.CostFit) -> str:
    if fit.fit.interval is None:
        return html.escape(fit.reason or "no interval")
    low, high = (formats.signed(value) for value in fit.fit.interval)
    return f"95 % Student-t interval {low} to {high} from {fit.fit.n} runs"


def _slope_notes(content: Content) -> str:
    return _left_out(content.fits) + (
        '<p class="note">Slope of −(validation loss) against log10 of the cost, by '
        "ordinary least squares: by how many nats per token the loss decreases if the "
        "cost increases tenfold. Higher is better. Slopes against different costs are "
        "different quantities and cannot be compared. RMSE and residuals are in nats "
        "per token. Theil-Sen is the median slope over pairs of runs, which is robust "
        "to one bad run. The interval accounts for the scatter around the line, but "
        "not for the effect of another learning rate, run length or corpus.</p>"
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
        '<p class="note">Line: the fit. Shaded area: its 95 % confidence band. Lower '
        "panel: residuals.</p>"
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
    parts = [_wide(content.figures.get("downstream"), _DOWNSTREAM)]
    if "downstream_by_step" in content.figures:
        parts.append(_wide(content.figures["downstream_by_step"], _BY_STEP))
    parts.append(f'<p class="note">{html.escape(_DOWNSTREAM_NOTE)}</p>')
    parts.append(page_tables.downstream(content.downstream))
    return "".join(parts)


def _separation(rows: Sequence[rows_lib.Row]) -> str:
    spread = analysis.seed_spread(analysis.finished_rows(rows))
    if spread is None:
        words = (
            "Spread between seeds unknown, since no size was run with several seeds."
        )
    else:
        model, value = spread
        words = (
            f"The seeds of {model} differ by {value:.4f} nats per token. A size counts "
            f"as better if its loss is lower by more than {analysis.SPREADS:g} times "
            "that."
        )
    table = page_tables.separation(analysis.separation(rows))
    return f'<p class="note">{html.escape(words)}</p>{table}'


def _variants(content: Content) -> str:
    laws = page_tables.power_laws(analysis.fit_power_laws(content.rows))
    return (
        '<p class="note">The papers do not state the units of their slopes, so all '
        "usual variants are listed. With a logarithm of the loss, the slope is that of "
        "−ln(loss). Standardized variants use z-scores on both axes, so the slope is "
        "the correlation.</p>"
        f"<details><summary>All variants</summary>{page_tables.variants(content.fits)}"
        "</details>"
        f"<details><summary>Residuals of each run</summary>"
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
