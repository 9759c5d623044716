"""Assembles the page of a folder of runs."""

from collections.abc import Mapping
from collections.abc import Sequence
import statistics
from typing import Any

from clinometer.models.architectures import registry
from clinometer.tools.laws import left_out
from clinometer.tools.laws import summary
from clinometer.tools.report import cards
from clinometer.tools.report import costs
from clinometer.tools.report import downstream_cells
from clinometer.tools.report import fewshot
from clinometer.tools.report import findings as findings_lib
from clinometer.tools.report import formats
from clinometer.tools.report import lead as lead_lib
from clinometer.tools.report import others as others_lib
from clinometer.tools.report import page
from clinometer.tools.report import selection
from clinometer.tools.report import study_figures
from clinometer.tools.report import theme
from clinometer.tools.report.grids import conditions
from clinometer.tools.report.grids import fewshot as fewshot_grids
from clinometer.tools.report.grids import found
from clinometer.tools.report.grids import frontiers
from clinometer.tools.report.grids import laws
from clinometer.tools.report.grids import models
from clinometer.tools.report.grids import others
from clinometer.tools.report.grids import quality
from clinometer.tools.report.grids import runs
from clinometer.tools.report.grids import scores
from clinometer.tools.report.grids import slopes
from clinometer.tools.report.grids import tasks
from clinometer.tools.report.tables import sources as sources_lib
from clinometer.tools.report.tables import study_tables
from clinometer.train.downstream import crossed
from clinometer.train.downstream import likelihood


def render(
    sources: sources_lib.Sources,
    tables: study_tables.StudyTables,
    figures: Mapping[str, study_figures.Group],
    live: bool = False,
) -> str:
    """Returns the HTML of the page.

    Args:
        sources: what was read.
        tables: from `study_tables.make`.
        figures: from `study_figures.make`.
        live: whether the page asks its server for changes.
    """
    labels = [look.label for look in tables.looks.values()]
    return page.render(
        "study.html",
        f"Scaling of {', '.join(labels)}",
        tables.looks,
        cards.make(tables),
        live,
        lead=lead_lib.make(sources, tables),
        demonstration=lead_lib.DEMONSTRATION,
        reference=theme.label(registry.REFERENCE),
        unit=selection.unit(sources.rows),
        figures=figures,
        architectures={row["arch"]: row for row in tables["architectures"]},
        findings=sources.findings,
        heads=_heads(sources, tables),
        margin=margin_note(sources.findings),
        grids=_grids(sources, tables),
        unknown_seeds=crossed.UNKNOWN_SEEDS,
        efficient_note=efficient_note(sources.laws),
        other_notes=others.notes(sources.others),
        missing_slopes=laws.missing_slopes(sources.laws.alphas) if sources.laws else [],
        likelihood=likelihood.EXPLANATION.capitalize()
        if any(score.metric == likelihood.METRIC for score in sources.scores)
        else "",
        warnings=sources.warnings,
        keys=conditions.keys(sources.rows),
        provenance=_provenance(sources),
    )


def _grids(
    sources: sources_lib.Sources, tables: study_tables.StudyTables
) -> dict[str, Any]:
    """Returns the tables of the page by name; those without rows are None."""
    seen = sources.findings
    compared = [one for one in seen.compared if one.level is not None]
    differences = downstream_cells.differences(sources.cells)
    # The others are in data/, since there are hundreds of rows.
    first = [fit for fit in sources.fits if fit.cost is costs.COSTS[0]]
    others = [fit for fit in sources.fits if fit.cost is not costs.COSTS[0]]
    made = {
        "table1": models.make(tables["models"], sources),
        "gains": found.gains(seen.gains),
        "means": found.means(seen.sizes),
        "steps": found.steps(seen.steps),
        "levels": found.levels(compared),
        "factors": found.factors([one for one in compared if one.multiplier]),
        "slopes": slopes.slopes(first),
        "other_slopes": slopes.slopes(others),
        "variants": slopes.variants(first),
        "residuals": slopes.residuals(first),
        "frontiers": frontiers.make(tables["models"]),
        "runs": runs.runs(sources.rows),
        "speed": runs.speed(sources.rows),
        "left_out": quality.left_out(sources.fits, sources.rows),
        "wall_time": quality.wall_time(sources.rows),
        "scores": scores.means(sources.cells),
        "score_differences": scores.differences(differences),
        "finetunings": scores.finetunings(sources.scores),
        "conditions": conditions.make(sources.rows),
        "fewshot": fewshot_grids.means(fewshot.means(sources.fewshot)),
        "fewshot_differences": fewshot_grids.differences(
            fewshot.differences(sources.fewshot)
        ),
    }
    shown = {name: grid if grid.body else None for name, grid in made.items()}
    return shown | _law_grids(sources.laws) | other_grids(sources.others)


def _law_grids(found: summary.Laws | None) -> dict[str, Any]:
    """Returns the tables of laws by name; those without rows are None."""
    if found is None:
        return dict.fromkeys(_LAWS)
    made = {
        "alphas": laws.five("alphas", found.alphas),
        "equation_one": laws.equation("equation_one", found.equation_one),
        "surfaces": laws.surface(found.surfaces),
        "best_sizes": laws.best_sizes(found.surfaces),
        "held_out": laws.held_out("held_out", found.left_out),
        "task_laws": tasks.make("task_laws", found.tasks, found.left_out),
        "efficient": laws.efficient("efficient", found.efficient),
        "paper_claims": laws.claims("paper_claims", found.claims),
    }
    return {name: made[name] if made[name].body else None for name in _LAWS}


def other_grids(sources: Sequence[others_lib.Source]) -> dict[str, Any]:
    """Returns the tables of results of others; those without rows are None."""
    made = {
        "others_slopes": others.slopes(sources),
        "text_checks": others.checks(sources),
    }
    shown = {name: grid if grid.body else None for name, grid in made.items()}
    tables = [
        (one.name, others.rows(f"others_{number}", one))
        for number, one in enumerate(sources, 1)
    ]
    return {"others": tables, **shown}


_LAWS = (
    *("alphas", "equation_one", "surfaces", "best_sizes", "held_out", "task_laws"),
    *("efficient", "paper_claims"),
)


def efficient_note(found: summary.Laws | None) -> str:
    """Says which models stand on no downstream frontier."""
    if found is None or not found.efficient:
        return ""
    off = [one.runs[0] for one in found.efficient if not one.efficient]
    return f"On none: {', '.join(off) or 'no model'}."


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


def _heads(
    sources: sources_lib.Sources, tables: study_tables.StudyTables
) -> dict[str, str]:
    """Returns the heading of each section, which says what is found in it."""
    models_, count = tables["models"], lead_lib.counted
    shown = len({model["arch"] for model in models_})
    on = [model for model in models_ if model["front_training_flops"]]
    archs = len({model["arch"] for model in on})
    noun = "architecture holds" if archs == 1 else "architectures share"
    sds = [size.sd for size in sources.findings.sizes if size.sd is not None]
    noisy = sum(run["noisy"] for run in tables["runs"])
    failed = sum(run["status"] == "failed" for run in tables["runs"])
    spread = "How runs of one model differ is unknown"
    if sds:
        low, high = min(sds), max(sds)
        between = f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"
        spread = f"Runs of one model differ by {between} nats"
    timings = f"{count(noisy)} timing{'' if noisy == 1 else 's'} disturbed"
    gains = [one.gain.value for one in sources.findings.gains if one.gain is not None]
    alone = "Loss against compute"
    if gains and gains[0] > 0:
        alone = "Loss falls as compute grows, and how straight"
    return {
        "compute": f"{count(shown).capitalize()} architectures, each before vanilla"
        if shown > 1
        else alone,
        "frontier": f"{count(archs).capitalize()} {noun} the frontier of FLOPs",
        "curves": f"{count(failed).capitalize()} run{'' if failed == 1 else 's'} failed"
        if failed
        else "No run failed",
        "laws": _laws_head(tables),
        "quality": f"{spread}; {timings}",
    }


def _laws_head(tables: study_tables.StudyTables) -> str:
    errors = {
        law: [abs(row["error"]) for row in tables["held_out"] if row["law"] == law]
        for law in (left_out.LINE, left_out.POWER)
    }
    if not all(errors.values()):
        return "What laws say of sizes that they have not seen"
    line, power = map(statistics.median, errors.values())
    return (
        f"At the unseen size a law misses by {power:.3f} nats, a straight line by "
        f"{line:.3f}"
    )


def _provenance(sources: sources_lib.Sources) -> list[tuple[str, list[str], bool]]:
    """Returns what a reader needs to make the page again.

    Returns:
        For each entry its name, its distinct values, and whether they are code.
    """
    entries: list[tuple[str, list[str], bool]] = []
    if sources.command:
        entries.append(("command", [sources.command], True))
    for label, function in _PROVENANCE.items():
        values = sorted({str(v) for row in sources.rows if (v := function(row))})
        if values:
            entries.append((label, values, False))
    return entries


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
