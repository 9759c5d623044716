"""Tables of few-shot accuracies of runs on images."""

from collections.abc import Sequence

from clinometer.tools.report import fewshot
from clinometer.tools.report import formats
from clinometer.tools.report.grids import grid
from clinometer.train.fewshot import names

Cell = grid.Cell


def means(found: Sequence[fewshot.Estimate]) -> grid.Grid:
    """Returns the mean accuracies of each model, and of its controls."""
    body = [
        [
            grid.text(one.model),
            Cell(str(one.shots), one.shots),
            grid.text(names.TITLES[one.kind]),
            Cell(str(one.runs), one.runs),
            _shown(one),
        ]
        for one in found
    ]
    return grid.make(
        "fewshot",
        "Few-shot accuracies of each model over its runs, in percent",
        ("model", "shots", "features", "runs", ("accuracy", "%")),
        body,
        text_columns=(0, 2),
        archs=[one.model.partition("-")[0] for one in found],
        sortable=True,
        filtered=True,
    )


def differences(found: Sequence[fewshot.Estimate]) -> grid.Grid:
    """Returns the differences between models."""
    body = [
        [
            grid.text(one.model),
            grid.text(one.less),
            Cell(str(one.shots), one.shots),
            Cell(str(one.runs), one.runs),
            _shown(one, signed=True),
        ]
        for one in found
    ]
    return grid.make(
        "fewshot_differences",
        "Differences of few-shot accuracies between models, in percent",
        ("model", "less", "shots", "pairs of runs", ("difference", "%")),
        body,
        text_columns=(0, 1),
        archs=[one.model.partition("-")[0] for one in found],
        sortable=True,
    )


def _shown(one: fewshot.Estimate, *, signed: bool = False) -> Cell:
    text = formats.signed(one.value, 1) if signed else formats.fixed(one.value, 1)
    error = "error unknown"
    if one.low is not None:
        ends = (one.low, one.high)
        error = formats.interval(*ends, 1)
        if not signed:
            error = " to ".join(formats.fixed(end, 1) for end in ends)
    return Cell(text, one.value, error=error)
