"""The table of which models stand on the Pareto frontier of which cost, how surely."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from clinometer.tools.report import costs
from clinometer.tools.report import formats
from clinometer.tools.report.grids import grid


def make(models: Sequence[Mapping[str, Any]]) -> grid.Grid:
    """Returns the models that may stand on a frontier, by loss, and on which.

    They are those on one, and those that are with a probability of 5 % or more.

    Args:
        models: from `model_table.make`.
    """
    shown = [
        model
        for model in sorted(models, key=lambda m: m["loss"])
        if any(_chance(model, cost) >= _LEAST for cost in costs.COSTS)
    ]
    lengths = len({model["train_steps"] for model in models})
    body = [
        [
            grid.text(model["label"]),
            grid.Cell(_size(model, lengths), model["training_flops"] or ""),
            grid.Cell(formats.fixed(model["loss"], 3), model["loss"]),
            *(_cell(model, cost) for cost in costs.COSTS),
        ]
        for model in shown
    ]
    heads = ("Architecture", "Size", ("Loss", "nats"), *_titles())
    return grid.make(
        "frontiers",
        "Models on the Pareto frontier of each cost",
        heads,
        body,
        text_columns=(0, 1),
        archs=[model["arch"] for model in shown],
        sortable=True,
    )


def _size(model: Mapping[str, Any], lengths: int) -> str:
    """Returns the size, with the length of training where there are several."""
    if lengths < 2 or model["train_steps"] is None:
        return model["size"]
    return f"{model['size']}, {model['train_steps']:,} steps"


def _chance(model: Mapping[str, Any], cost: costs.CostAxis) -> float:
    """Returns a probability; 1 or 0 as measured where the error is unknown."""
    known = model[f"chance_{cost.key}"]
    on = model[f"front_{cost.key}"]
    return float(on) if known is None else max(known, _LEAST * on)


def _cell(model: Mapping[str, Any], cost: costs.CostAxis) -> grid.Cell:
    known = model[f"chance_{cost.key}"]
    mark = "● " if model[f"front_{cost.key}"] else ""
    if known is None:
        return grid.Cell(mark.strip(), float(bool(mark)), share=60.0 if mark else None)
    shown = "<1" if 0 < known < 0.005 else f"{100 * known:.0f}"
    if not mark and known < _LEAST / 10:
        return grid.Cell("", known)
    return grid.Cell(f"{mark}{shown} %", known, share=70 * known if mark else None)


def _titles() -> list[tuple[str, str]]:
    return [_SHORT[cost.key] for cost in costs.COSTS]


_LEAST = 0.05  # Probability from which a model is listed.
_SHORT = {
    "training_flops": ("FLOPs", "training"),
    "flops": ("FLOPs", "forward"),
    "flops_non_embedding": ("FLOPs", "no logits"),
    "parameters": ("Params", "in all"),
    "time": ("Time", "training"),
    "multiply_adds": ("MACs", "papers’"),
}
