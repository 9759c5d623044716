"""The table of which models stand on the Pareto frontier of which cost."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from clinometer.tools.report import costs
from clinometer.tools.report import formats
from clinometer.tools.report.grids import grid


def make(models: Sequence[Mapping[str, Any]]) -> grid.Grid:
    """Returns the models that stand on a frontier, by loss, and on which.

    Args:
        models: from `model_table.make`.
    """
    shown = [
        model
        for model in sorted(models, key=lambda m: m["loss"])
        if any(model[f"front_{cost.key}"] for cost in costs.COSTS)
    ]
    body = [
        [
            grid.text(model["label"]),
            grid.Cell(model["size"], model["training_flops"] or ""),
            grid.Cell(formats.fixed(model["loss"], 3), model["loss"]),
            *(
                grid.Cell("●", 1.0, share=60.0)
                if model[f"front_{cost.key}"]
                else grid.Cell("", 0.0)
                for cost in costs.COSTS
            ),
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


def _titles() -> list[tuple[str, str]]:
    return [_SHORT[cost.key] for cost in costs.COSTS]


_SHORT = {
    "training_flops": ("FLOPs", "training"),
    "flops": ("FLOPs", "forward"),
    "flops_non_embedding": ("FLOPs", "no logits"),
    "parameters": ("Params", "in all"),
    "time": ("Time", "training"),
    "multiply_adds": ("MACs", "papers’"),
}
