"""Tables of what a study found: gains, sizes, steps and comparisons."""

from collections.abc import Sequence
import math

from clinometer.tools.inference import spread
from clinometer.tools.report import findings as findings_lib
from clinometer.tools.report import formats
from clinometer.tools.report.grids import grid

Cell = grid.Cell


def gains(gains: Sequence[findings_lib.Gain]) -> grid.Grid:
    """Returns the gain of each architecture from its cheapest size to its dearest."""
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
        cells = [grid.architecture(one.architecture)]
        if one.gain is None:
            body.append([*cells, *[Cell("–")] * 4, Cell(one.reason or "", wrap=True)])
            body[-1] += [Cell("–")] * (len(heads) - len(body[-1]))
            continue
        smallest, largest = one.ends
        cells += [
            grid.text(smallest.name),
            grid.text(largest.name),
            Cell(f"{formats.si(smallest.flops)} to {formats.si(largest.flops)}"),
            *_estimate(one.gain, 4),
            *(_estimate(one.per_decade, 4) if one.per_decade else [Cell("–")] * 2),
            Cell(_ratio(one.spread)),
        ]
        body.append(cells)
    return grid.make(
        "gains",
        "Gain of each architecture over its own range of sizes",
        heads,
        body,
        text_columns=(0, 1, 2),
        archs=[one.architecture for one in gains],
    )


def _ratio(ratio: spread.SpreadRatio | None) -> str:
    if ratio is None or math.isnan(ratio.ratio):
        return "–"
    return f"{ratio.ratio:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def means(sizes: Sequence[findings_lib.Size]) -> grid.Grid:
    """Returns the mean loss of each size."""
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
            grid.architecture(one.cell.architecture),
            grid.text(one.cell.name),
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
    return grid.make(
        "sizes",
        "Mean loss of each size",
        heads,
        body,
        text_columns=(0, 1),
        archs=[one.cell.architecture for one in sizes],
        sortable=True,
        filtered=True,
    )


def _plain_interval(estimate: findings_lib.Estimate) -> str:
    if estimate.low is None:
        return "–"
    return f"{estimate.low:.4f} to {estimate.high:.4f}"


def steps(steps: Sequence[findings_lib.SizeStep]) -> grid.Grid:
    """Returns the tests whether each size is better than the one before."""
    verdicts = {True: "yes", False: "no", None: "error unknown"}
    body = [
        (
            grid.architecture(step.smaller.architecture),
            grid.text(step.smaller.name),
            grid.text(step.larger.name),
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
    return grid.make(
        "steps",
        "Whether each size is better than the one before",
        heads,
        body,
        text_columns=(0, 1, 2, 6),
        archs=[step.smaller.architecture for step in steps],
    )


def levels(compared: Sequence[findings_lib.Compared]) -> grid.Grid:
    """Returns the differences from the reference at equal FLOPs."""
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
            grid.architecture(one.architecture),
            Cell(" to ".join(map(formats.si, one.ends))),
            *_estimate(one.level.estimate, 4),
            grid.text(one.level.outcome or "error unknown"),
            *_estimate(one.gain.estimate, 4),
            grid.text(one.gain.outcome or "error unknown"),
        )
        for one in compared
    ]
    return grid.make(
        "compared",
        "Differences from the reference at equal training FLOPs",
        heads,
        body,
        text_columns=(0, 4, 7),
        archs=[one.architecture for one in compared],
    )


def factors(compared: Sequence[findings_lib.Compared]) -> grid.Grid:
    """Returns levels as factors of compute, and changes of sign."""
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
            grid.architecture(one.architecture),
            Cell(str(one.multiplier.average), wrap=True),
            Cell(str(one.multiplier.at_low_end), wrap=True),
            Cell(str(one.multiplier.at_high_end), wrap=True),
            Cell(one.crossing.crossing.value, wrap=True),
            Cell(formats.p_value(one.crossing.p_value)),
        )
        for one in compared
    ]
    return grid.make(
        "multipliers",
        "Levels as factors of compute, and changes of sign",
        heads,
        body,
        text_columns=range(5),
        archs=[one.architecture for one in compared],
    )


def _estimate(estimate: findings_lib.Estimate, decimals: int) -> list[Cell]:
    """Renders the value and its interval."""
    return [
        Cell(formats.signed(estimate.value, decimals), estimate.value),
        Cell(formats.interval(estimate.low, estimate.high, decimals)),
    ]
