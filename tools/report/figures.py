"""Draws the report's figures as SVG, with the same bytes for the same input.

Text is stored as text, so that it is searchable and small. Colors and sizes match the
page's style.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import io
import re
from typing import NamedTuple

import matplotlib
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
from matplotlib import ticker
import numpy as np

from clinometer import models
from clinometer.tools.report import analysis
from clinometer.tools.report import formats
from clinometer.tools.report import rows as rows_lib

_INK, MUTED, _GRID = "#1f2933", "#616e7c", "#e4e7eb"
# Okabe and Ito's palette, which is suitable for colorblind readers.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8d6e00")
_MARKS = ("o", "s", "^", "v", "D", "d", "P", "X", "<", ">", "h", "*")
_STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#9aa5b1",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
}
_WALL_COLOURS = {
    "step": "#0072b2",
    "compile": "#e69f00",
    "calibration": "#cc79a7",
    "input_wait": "#d55e00",
    "evaluation": "#56b4e9",
    "checkpoint": "#009e73",
    "paused": "#1f2933",
    "other": "#9aa5b1",
}
_MAX_CURVE_POINTS = 300


@contextlib.contextmanager
def style(name: str) -> Iterator[None]:
    """Sets the style of all figures; a context manager.

    It starts from matplotlib's own defaults and ignores any `matplotlibrc`.

    Args:
        name: the figure's name; the ids in the SVG are derived from it.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": name})
        yield


class Look(NamedTuple):
    """The color and marker of an architecture.

    Attributes:
        colour: color of its family.
        mark: matplotlib's marker.
    """

    colour: str
    mark: str


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Returns name -> look of the architectures in a figure, sorted by name.

    Args:
        names: the architectures. Unknown ones, for instance from a file that no longer
            exists, get the color of those without a family.
    """
    kinds = models.ARCHITECTURES
    families = list(dict.fromkeys(kind.family for kind in kinds.values()))
    found: dict[str, Look] = {}
    for name in sorted(names):
        kind = kinds.get(name)
        family = families.index(kind.family) if kind else len(families)
        colour = PALETTE[family % len(PALETTE)]
        free = [m for m in _MARKS if Look(colour, m) not in found.values()]
        mark = kind.mark if kind else _MARKS[0]
        found[name] = Look(colour, mark if mark in free or not free else free[0])
    return found


def loss_against_cost(fits: Sequence[analysis.CostFit]) -> str:
    """Draws validation loss against a cost, with a line and band per architecture.

    A lower panel shows the residuals.

    Args:
        fits: the fits of one cost, one per architecture.

    Returns:
        SVG text.
    """
    cost = fits[0].cost
    drawn = looks([fit.architecture for fit in fits])
    with style(cost.key):
        figure = mpl_figure.Figure(figsize=(5.6, 4.9), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        top.set_xscale("log")
        for i, fit in enumerate(fits):
            offset = (7, 6) if i % 2 == 0 else (-8, -13)
            _draw_fit(top, bottom, fit, drawn[fit.architecture], offset)
        top.set_ylabel("validation loss, nats per token")
        bottom.set_ylabel("residual, nats")
        bottom.set_xlabel(cost.axis)
        bottom.axhline(0, color="#9aa5b1", linewidth=0.8)
        reach = max((abs(r) for fit in fits for r in fit.residuals), default=0)
        bottom.set_ylim(-1.6 * reach or -1e-3, 1.6 * reach or 1e-3)
        _log_ticks(bottom, [p.cost for fit in fits for p in fit.points])
        top.legend(loc="best")
        figure.align_ylabels((top, bottom))
        return svg(figure)


def _draw_fit(
    top: mpl_axes.Axes,
    bottom: mpl_axes.Axes,
    fit: analysis.CostFit,
    look: Look,
    offset: tuple[int, int],
) -> None:
    """Draws one architecture: line, band and points at the top, residuals below."""
    x = np.array([point.cost for point in fit.points], np.float64)
    y = np.array([point.loss for point in fit.points], np.float64)
    if not x.size:
        return
    label, (colour, mark) = fit.architecture, look
    runs = [row for point in fit.points for row in point.rows]
    losses = np.array([row["validation_loss_nats"] for row in runs], np.float64)
    if fit.slope is not None:
        line = np.geomspace(x.min() / 1.12, x.max() * 1.12, 100)
        loss = fit.predict(line)
        label += f": {formats.signed(fit.slope)} nats per 10× cost"
        top.plot(line, loss, color=colour)
        lower, upper = min(losses.min(), loss.min()), max(losses.max(), loss.max())
        if fit.line is not None:
            shown = formats.interval(fit.line.low, fit.line.high)
            label += f"\n95 % interval {shown}, if straight"
            band = fit.line.reach(line)
            top.fill_between(
                line, loss - band, loss + band, color=colour, alpha=0.13, linewidth=0
            )
        label += f" ({len(fit.points)} sizes, {fit.runs} runs)"
        # With few runs the band can be very wide, so the points set the range.
        pad = 0.25 * (upper - lower) or 0.1
        if top.get_autoscaley_on():
            top.set_ylim(lower - pad, upper + pad)
        else:
            bounds = top.get_ylim()
            top.set_ylim(min(bounds[0], lower - pad), max(bounds[1], upper + pad))
        bottom.plot(x, fit.residuals, mark, color=colour, ms=5)
    points = {"color": colour, "ms": 6.5, "mec": "white", "mew": 0.8}
    top.plot([row[fit.cost.column] for row in runs], losses, ".", color=colour, ms=3)
    top.plot(x, y, mark, **points)
    line_style = "none" if fit.slope is None else "-"
    top.plot([], [], marker=mark, linestyle=line_style, label=label, **points)
    for point in fit.points:
        top.annotate(
            point.size,
            (point.cost, point.loss),
            xytext=offset,
            ha="left" if offset[0] > 0 else "right",
            textcoords="offset points",
            fontsize=9,
            color=MUTED,
        )


def loss_curves(
    curves: Mapping[str, Sequence[tuple[int, float]]],
    validation: Mapping[str, Sequence[tuple[int, float]]],
) -> str:
    """Draws the training loss of every run, and validation losses as hollow markers.

    Args:
        curves: run -> (step, training loss in nats per token).
        validation: run -> (step, validation loss in nats per token).

    Returns:
        SVG text.
    """
    with style("curves"):
        columns, height = _legend_shape(curves)
        figure = mpl_figure.Figure(figsize=(6.2, 4.1 + height), layout="constrained")
        axes = figure.subplots()
        ends = []
        for i, name in enumerate(curves):
            colour = PALETTE[i % len(PALETTE)]
            points = np.array(_thin(curves[name]), np.float64).reshape(-1, 2)
            dashes = ("-", "--", ":")[i // len(PALETTE) % 3]
            axes.plot(*points.T, dashes, color=colour, linewidth=1.3, label=name)
            checks = np.array(validation.get(name, ()), np.float64).reshape(-1, 2)
            axes.plot(*checks.T, "o", color=colour, mfc="white", ms=5, mew=1.3)
            ends += [points[-1, 1]] if len(points) else []
        axes.set_xlabel("training step")
        axes.set_ylabel("loss, nats per token")
        # The initial drop would compress all differences between the runs.
        values = [v for curve in curves.values() for _, v in curve]
        if ends and max(values) - min(values) > 0:
            high = float(np.quantile(values, 0.97))
            axes.set_ylim(min(values) - 0.05 * (high - min(values)), high)
        if columns:
            figure.legend(loc="outside lower center", ncols=columns)
        return svg(figure)


def _legend_shape(names: Collection[str]) -> tuple[int, float]:
    """Returns the columns and the height in inches of a legend below a figure.

    Args:
        names: the entries; with more than 14 there is no legend.
    """
    if not 0 < len(names) <= 14:
        return 0, 0.0
    width = 0.6 + 0.064 * max(map(len, names))  # Of an entry in 9 pt.
    columns = max(1, int(6.2 / width))
    return columns, 0.2 * -(-len(names) // columns)


def time_breakdown(rows: Sequence[rows_lib.Row]) -> str:
    """Draws the wall time of each run by activity, as stacked bars in seconds."""
    height = 1.3 + 0.34 * len(rows)
    with style("time"):
        figure = mpl_figure.Figure(figsize=(6.4, height), layout="constrained")
        axes = figure.subplots()
        axes.grid(visible=False, axis="y")
        left = np.zeros(len(rows))
        for part, colour in _WALL_COLOURS.items():
            seconds = np.array(
                [row[f"wall_{part}_seconds"] or 0 for row in rows], np.float64
            )
            if not seconds.any():
                continue
            axes.barh(
                range(len(rows)),
                seconds,
                left=left,
                height=0.62,
                color=colour,
                label=part.replace("_", " "),
            )
            left += seconds
        axes.set_yticks(range(len(rows)), [row["run"] for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlabel("wall time, seconds")
        figure.legend(loc="outside upper center", ncols=7, columnspacing=1.0)
        return svg(figure)


def _log_ticks(axes: mpl_axes.Axes, values: Sequence[float]) -> None:
    """Sets ticks at round numbers with SI prefixes, denser for short ranges."""
    decades = np.log10(max(values) / min(values)) if values else 0
    subs = (1.0,) if decades > 4 else (1.0, 2.0, 5.0)
    if decades < 1.2:
        subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    axes.xaxis.set_major_locator(ticker.LogLocator(base=10, subs=subs, numticks=30))
    axes.xaxis.set_major_formatter(
        lambda value, _: formats.si(value, 2).replace(".0", "")
    )
    axes.xaxis.set_minor_locator(ticker.NullLocator())


def _thin(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """Reduces a curve to at most _MAX_CURVE_POINTS points by averaging segments."""
    if len(points) <= _MAX_CURVE_POINTS:
        return list(points)
    parts = np.array_split(np.array(points, np.float64), _MAX_CURVE_POINTS)
    return [(float(part[-1, 0]), float(part[:, 1].mean())) for part in parts]


def svg(figure: mpl_figure.Figure) -> str:
    """Returns the SVG text of a figure, without dates or other varying metadata."""
    out = io.StringIO()
    figure.savefig(
        out,
        format="svg",
        facecolor="white",
        metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
    )
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", out.getvalue(), flags=re.DOTALL)
    return text.strip() + "\n"


def inline(svg: str, label: str) -> str:
    """Returns the <svg> element for use in a page, with an accessible label.

    Args:
        svg: SVG text, as returned by the functions above.
        label: the label, escaped for use in an attribute.
    """
    body = svg[svg.index("<svg") :]
    # The page sets the width; viewBox keeps the proportions.
    body = re.sub(r'(<svg[^>]*?) height="[^"]*pt"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*pt"', r"\1", body, count=1)
    return body.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
