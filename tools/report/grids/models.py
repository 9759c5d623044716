"""Table 1 of the papers: size, cost, speed, loss and scores of every model."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from clinometer.tools.report import downstream_cells
from clinometer.tools.report import formats
from clinometer.tools.report import score_names
from clinometer.tools.report import selection
from clinometer.tools.report.grids import grid
from clinometer.tools.report.tables import model_table
from clinometer.tools.report.tables import sources as sources_lib
from clinometer.train.downstream import best_scores

Cell = grid.Cell


def make(
    models: Sequence[Mapping[str, Any]], sources: sources_lib.Sources
) -> grid.Grid:
    """Returns Table 1, a row for each model.

    Negative log-perplexity is the papers': the loss in nats with its sign turned. The
    scores are all tasks and averages. Bold is the best mean at a size.

    Args:
        models: from `model_table.make`.
        sources: what was read.
    """
    scored = _scored(sources)
    names = sorted(
        {
            name
            for cell in scored.values()
            for name in cell.scores
            if name.metric == best_scores.SCORE
        },
        key=score_names.order,
    )
    lengths = len({model["train_steps"] for model in models}) > 1
    best: dict[str, float] = {}
    for model in models:
        best[model["size"]] = min(model["loss"], best.get(model["size"], 1e9))
    body = []
    for model in models:
        body.append(
            [
                grid.text(model["label"]),
                Cell(model["size"], model["training_flops"] or ""),
                Cell(
                    str(model["runs"]),
                    model["runs"],
                    error=f"/{model['planned']}",
                    tag=model["runs"] < model["planned"],
                ),
                *([_steps(model["train_steps"])] if lengths else []),
                _si(model["params_total"]),
                _si(model["training_flops"]),
                Cell(
                    formats.significant(model["steps_per_second"]),
                    grid.key(model["steps_per_second"]),
                ),
                _loss(model, best[model["size"]]),
                *(_score(scored.get(model["key"]), name) for name in names),
            ]
        )
    heads = (
        "Architecture",
        "Size",
        ("Runs", "of planned"),
        *([("Steps", "of training")] if lengths else []),
        ("Params", "in all"),
        ("FLOPs", "of training"),
        ("Speed", "steps/s"),
        ("−ln perplexity", f"nats/{selection.unit(sources.rows)}"),
        *((score_names.label(name), "%") for name in names),
    )
    return grid.make(
        "table1",
        "All models: size, cost, speed, loss and scores",
        heads,
        body,
        text_columns=(0, 1),
        archs=[model["arch"] for model in models],
        sortable=True,
        filtered=True,
    )


def _scored(sources: sources_lib.Sources) -> dict[str, downstream_cells.Cell]:
    """Returns the first setting of the fine-tuning of each model, by its key."""
    key_of = model_table.of_run(sources.rows)
    found: dict[str, downstream_cells.Cell] = {}
    for cell in sources.cells:
        if cell.runs[0] in key_of:
            found.setdefault(key_of[cell.runs[0]], cell)
    return found


def _loss(model: Mapping[str, Any], best: float) -> Cell:
    error = ""
    if model["lo"] is not None:
        error = f"±{(model['hi'] - model['lo']) / 2:.3f}"
    return Cell(
        f"−{model['loss']:.3f}",
        -model["loss"],
        error=error,
        strong=model["loss"] == best,
    )


def _score(cell: downstream_cells.Cell | None, name: best_scores.Name) -> Cell:
    if cell is None or name not in cell.scores:
        return Cell("–")
    found = cell.estimate(name)
    interval = found.interval or found.items_interval
    error = ""
    if interval:
        reach = (interval[1] - interval[0]) / 2
        error = f"±{reach:.0f}" if reach >= 10 else f"±{reach:.1f}"
    return Cell(f"{found.value:.1f}", found.value, error=error)


def _steps(value: int | None) -> Cell:
    return Cell("–" if value is None else f"{value:,}", grid.key(value))


def _si(value: float | None) -> Cell:
    return Cell(formats.si(value), grid.key(value))
