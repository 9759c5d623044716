"""Tables of straight lines, their variants and residuals."""

from collections.abc import Sequence
import math

from clinometer.tools.report import analysis
from clinometer.tools.report import formats
from clinometer.tools.report.grids import grid

Cell = grid.Cell


def slopes(fits: Sequence[analysis.CostFit]) -> grid.Grid:
    """Returns the table of straight lines, per cost and architecture."""
    heads = (
        "architecture",
        "cost",
        "slope",
        "95 % interval",
        "lack of fit, p",
        "power",
        "RMSE",
        "sizes",
        "runs",
        "Theil-Sen",
    )
    body = []
    for fit in fits:
        first = (grid.architecture(fit.architecture), grid.text(fit.cost.title))
        counts = (Cell(str(len(fit.points))), Cell(str(fit.runs)))
        if fit.slope is None:
            why = Cell(fit.reason, wrap=True)
            body.append((*first, Cell("–"), why, *[Cell("–")] * 3, *counts, Cell("–")))
            continue
        line, theil_sen = fit.line, fit.variants[0].theil_sen_slope
        interval, p_value, power = Cell(fit.reason or "–", wrap=True), None, "–"
        if line is not None:
            interval = Cell(formats.interval(line.low, line.high))
            p_value = line.lack_of_fit_p
            power = ", ".join(
                f"{change:g}×: {100 * share:.0f} %"
                for change, share in line.lack_of_fit_power
            )
        body.append(
            (
                *first,
                Cell(formats.signed(fit.slope), fit.slope),
                interval,
                Cell(formats.p_value(p_value), grid.key(p_value)),
                Cell(power),
                Cell(
                    formats.fixed(
                        math.hypot(*fit.residuals) / len(fit.points) ** 0.5, 4
                    )
                ),
                *counts,
                Cell(formats.signed(theil_sen), theil_sen),
            )
        )
    return grid.make(
        f"slopes_{len({fit.cost.key for fit in fits})}",
        "Straight lines against costs",
        heads,
        body,
        text_columns=(0, 1),
        archs=[fit.architecture for fit in fits],
        sortable=True,
        filtered=True,
    )


def variants(fits: Sequence[analysis.CostFit]) -> grid.Grid:
    """Returns the sortable table of all variants of all slopes."""
    heads = (
        "cost",
        "architecture",
        "log of cost",
        "log of loss",
        "standardized",
        "slope",
        "R²",
        "Theil-Sen",
    )
    body = [
        (
            grid.text(item.cost.title),
            grid.architecture(item.architecture),
            grid.text(fit.logx),
            grid.text(fit.logy),
            grid.text("yes" if fit.standardise else "no"),
            Cell(_small(fit.slope), fit.slope),
            Cell(formats.fixed(fit.r_squared, 3), grid.key(fit.r_squared)),
            Cell(_small(fit.theil_sen_slope), fit.theil_sen_slope),
        )
        for item in fits
        for fit in item.variants
    ]
    return grid.make(
        "variants",
        "All variants of all slopes",
        heads,
        body,
        text_columns=(0, 1, 2, 3, 4),
        archs=[item.architecture for item in fits for _ in item.variants],
        sortable=True,
        filtered=True,
    )


def residuals(fits: Sequence[analysis.CostFit]) -> grid.Grid:
    """Returns the sortable table of residuals, in nats per token.

    A residual is positive if the loss is above the line.
    """
    heads = ("cost", "architecture", "size", "cost of a run", "mean loss", "residual")
    body = [
        (
            grid.text(item.cost.title),
            grid.architecture(item.architecture),
            grid.text(point.size),
            _si(point.cost, 4),
            _fixed(point.loss, 4),
            Cell(formats.signed(residual, 4), residual),
        )
        for item in fits
        for point, residual in zip(item.points, item.residuals)
    ]
    return grid.make(
        "residuals",
        "Residuals of each size from the straight lines",
        heads,
        body,
        text_columns=(0, 1, 2),
        archs=[item.architecture for item in fits for _ in item.residuals],
        sortable=True,
        filtered=True,
    )


def _si(value: float | None, digits: int = 3) -> Cell:
    return Cell(formats.si(value, digits), grid.key(value))


def _fixed(value: float | None, decimals: int) -> Cell:
    return Cell(formats.fixed(value, decimals), grid.key(value))


def _small(value: float | None) -> str:
    """Formats with four significant digits, including very small numbers."""
    return "–" if value is None else f"{value:.4g}".replace("-", "−")
