"""The one self-contained page: headline, slopes, figures, tables, how it was made."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import html
from typing import Any

from clinometer.tools.report import analysis
from clinometer.tools.report import downstream
from clinometer.tools.report import formats
from clinometer.tools.report import page_assets
from clinometer.tools.report import page_tables
from clinometer.tools.report import rows as rows_lib


@dataclasses.dataclass(frozen=True)
class Content:
    """Everything the page shows; nothing in it depends on the moment or the folder."""

    rows: Sequence[rows_lib.Row]
    fits: Sequence[analysis.CostFit]
    downstream: Sequence[downstream.FinetuningScore]
    figures: Mapping[str, str]  # Key -> inline SVG.
    warnings: Sequence[str]
    command: str | None  # That started the study, if it was one.


def render(content: Content) -> str:
    """The page's HTML; every name in it is escaped."""
    done = analysis.finished_rows(content.rows)
    names = sorted({row["architecture"] for row in done})
    sections = [
        _section("Slopes", page_tables.slopes(content.fits) + _slope_notes()),
        _section("Loss against cost", _cost_figures(content)),
        _section("Runs", page_tables.runs(content.rows)),
        _section("Is each size better than the one before?", _separation(content.rows)),
        _section("Upstream and downstream", _downstream(content)),
        _section("Loss curves", _wide(content.figures.get("loss_curves"), _CURVES)),
        _section(
            "Speed", page_tables.speed(content.rows) + f'<p class="note">{_SPEED}</p>'
        ),
        _section(
            "Where the time went", _wide(content.figures.get("time_breakdown"), _TIME)
        ),
        _section("Every reading of the slope", _variants(content)),
        _section("How it was made", _provenance(content)),
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
<p class="lead">{html.escape(_lead(content.rows))}</p>
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
    "Lines: training loss, as logged. Hollow points: validation loss over the whole "
    "validation set. The fall from initialisation is cut off at the top."
)
_TIME = (
    "Compile, input wait, steps, evaluation, checkpoints and the rest, as the trainer "
    "measured them."
)
_DOWNSTREAM = (
    "Score after fine-tuning, in percent, against the validation loss before it, which "
    "is lower to the right. Bars: one standard error of the evaluation set. Dashes: "
    "what always giving the commonest target of training would score."
)
_BY_STEP = "The same, fine-tuned from checkpoints along the pretraining."
_DOWNSTREAM_NOTE = (
    "Each task at its best step. Two scores are called different where they lie more "
    "than two standard errors of their difference apart; a smaller distance says "
    "nothing."
)
_SPEED = (
    "Median and interquartile range over windows that end in a device sync; compile, "
    "evaluation and checkpoint time excluded. Tokens are encoder and decoder "
    "positions, padding included. A run whose range exceeds 10 % of its median, or "
    "that other processes kept off its cores for more than 10 % of the time, is marked "
    "noisy and left out of fits against time. MFU is the part of the published peak "
    "that the train step's matrix products reach; the next column, of the rate that a "
    "large product reached on this machine before the run began."
)


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{html.escape(title)}</h2>\n{body}\n</section>\n"


def _lead(rows: Sequence[rows_lib.Row]) -> str:
    done = analysis.finished_rows(rows)
    first = done[0]
    sizes = len({row["model"] for row in done})
    length = f"{first['encoder_length']}/{first['decoder_length']}"
    return (
        f"{len(done)} of {len(rows)} runs finished, {sizes} models, pretrained by span "
        f"corruption: {first['step']} steps, {first['batch_size']} sequences of "
        f"{length} tokens a step. Losses are in nats per token."
    )


def _headlines(fits: Sequence[analysis.CostFit]) -> str:
    """The slope against the papers' multiply-adds, one box per architecture."""
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
                f"nats per token less validation loss for each tenfold of "
                f"{html.escape(fit.cost.per)} (the papers’ convention), {name}; "
                f"{_interval(fit)}."
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


def _slope_notes() -> str:
    return (
        '<p class="note">Slope of −(validation loss) against log10 of the cost, by '
        "ordinary least squares: how many nats per token a tenfold cost buys, more is "
        "better. Each cost gives a slope of its own; they are different quantities. "
        "RMSE and residuals are in nats per token. Theil-Sen: the median slope over "
        "pairs of runs, which one bad run cannot tilt. The interval is for scatter "
        "about the line; it does not cover what another learning rate, length of run "
        "or corpus would change.</p>"
    )


def _cost_figures(content: Content) -> str:
    figures = []
    seen = set()
    for fit in content.fits:
        key = fit.cost.key
        if key in seen or key not in content.figures:
            continue
        seen.add(key)
        left_out = sorted(
            {run for f in content.fits if f.cost.key == key for run in f.left_out}
        )
        caption = (
            f"<figcaption>Left out, speed noisy: {html.escape(', '.join(left_out))}."
            "</figcaption>"
            if left_out
            else ""
        )
        figures.append(
            f"<figure><h3>{html.escape(fit.cost.title)}</h3>"
            f"{content.figures[key]}{caption}</figure>"
        )
    return (
        '<p class="note">Line: the fit. Shade: its 95 % confidence band. Below: what '
        "the line leaves over.</p>"
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
            '<p class="note">No run was fine-tuned: <code>clinometer finetune --from '
            "RUN</code> does it.</p>"
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
        words = "No size was run with two seeds, so the scatter of seeds is not known."
    else:
        model, value = spread
        words = (
            f"Two seeds of {model} differ by {value:.4f} nats per token; a size counts "
            f"as better where it gains more than {analysis.SPREADS:g} times that."
        )
    table = page_tables.separation(analysis.separation(rows))
    return f'<p class="note">{html.escape(words)}</p>{table}'


def _variants(content: Content) -> str:
    laws = page_tables.power_laws(analysis.fit_power_laws(content.rows))
    return (
        '<p class="note">The papers do not give the units of their slopes, so each '
        "usual reading is here. Where the loss is logged, the slope is of −ln(loss). "
        "Standardised: both axes as z-scores, so the slope is the correlation.</p>"
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
        f"{row['device_threads']} thread(s) a run"
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
