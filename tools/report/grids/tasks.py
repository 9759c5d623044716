"""The table of the laws of tasks' scores, with their signal to noise before them."""

from collections.abc import Iterable
from collections.abc import Sequence

from clinometer.tools.laws import downstream
from clinometer.tools.laws import left_out
from clinometer.tools.report import formats
from clinometer.tools.report import score_names
from clinometer.tools.report.grids import grid

Cell = grid.Cell


def make(
    name: str,
    found: Sequence[downstream.Task],
    asked: Iterable[left_out.LeftOut],
) -> grid.Grid:
    """Returns a row per task and architecture.

    Args:
        name: of the table.
        found: the laws.
        asked: what laws said of the point with the lowest loss.
    """
    held = {(o.architecture, o.target, o.law): o for o in asked}
    body = [
        [
            grid.text(score_names.label(one.task)),
            grid.architecture(one.architecture),
            Cell(str(one.points), one.points),
            _signal(one),
            _rmse(one.two_steps),
            _error(held.get((one.architecture, f"score_{one.task}", "two steps"))),
            _rmse(one.direct),
            _error(held.get((one.architecture, f"score_{one.task}", "direct"))),
            Cell("; ".join(f"{k}: {v}" for k, v in one.reasons.items()), wrap=True),
        ]
        for one in found
    ]
    heads = ("Task", "Architecture", "sizes", ("signal to noise", "of 5 % by noise"))
    return grid.make(
        name,
        "Laws of downstream scores",
        (
            *heads,
            ("two steps", "RMSE, %"),
            ("two steps", "held-out error, %"),
            ("direct", "RMSE, %"),
            ("direct", "held-out error, %"),
            "",
        ),
        body,
        text_columns=(0, 1, 8),
        archs=[one.architecture for one in found],
        sortable=True,
        filtered=True,
    )


def _signal(one: downstream.Task) -> Cell:
    if one.signal is None:
        return Cell("–")
    shown = formats.fixed(one.signal.ratio, 1)
    if one.signal.threshold is None:
        return Cell(shown, grid.key(one.signal.ratio))
    beyond = "" if one.signal.clear else " within noise"
    return Cell(
        shown,
        grid.key(one.signal.ratio),
        error=f"of {one.signal.threshold:.1f}{beyond}",
    )


def _rmse(law: downstream.TwoSteps | downstream.Direct | None) -> Cell:
    if law is None:
        return Cell("–")
    told = "" if law.sigmoid.determined else "not determined"
    return Cell(f"{law.sigmoid.rmse:.2f}", law.sigmoid.rmse, error=told)


def _error(one: left_out.LeftOut | None) -> Cell:
    if one is None or one.error is None:
        return Cell("–")
    return Cell(formats.signed(one.error, 1), abs(one.error))
