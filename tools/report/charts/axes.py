"""Axes whose range and ticks follow the data."""

from collections.abc import Iterable
import math
import re

import altair as alt

from clinometer.tools.report import formats
from clinometer.tools.report import theme

_LEAST_SPAN = 5.0  # Of an axis of scores, percentage points.
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def power(value: float) -> str:
    """Formats 3e14 as "3·10¹⁴"."""
    exponent = math.floor(math.log10(value) + 1e-12)
    raised = f"10{str(exponent).translate(_RAISED)}"
    lead = f"{value / 10**exponent:.1f}".removesuffix(".0")
    return raised if lead == "1" else f"{lead}·{raised}"


def prefixed(value: float) -> str:
    """Formats 2e6 as "2M": letters that Liberation Sans has, unlike raised digits.

    In a figure with a second font, PDF files would not be equal when made again.
    """
    return re.sub(r"\.0(?=\D|$)", "", formats.si(value, 2))


def log_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Returns at most `most` round numbers in a range, whole decades first."""
    start, stop = math.floor(math.log10(low)), math.ceil(math.log10(high))
    kept: list[float] = []
    for leads in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7), (1, 1.5, 2, 3, 4, 5, 7)):
        found = [float(f"{lead}e{e}") for e in range(start, stop + 1) for lead in leads]
        found = [value for value in found if low <= value <= high]
        if kept and len(found) > most:
            break
        kept = found
    return kept[:: -(-len(kept) // most) or 1]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Returns at most `most` round numbers in a range, evenly spaced."""
    span = (high - low) or 1.0
    unit = 10.0 ** math.floor(math.log10(span / most))
    step = next(m * unit for m in (1, 2, 5, 10, 20) if span / (m * unit) <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def label(values: Iterable[float], form=prefixed) -> str:
    """Returns the Vega expression that labels these ticks."""
    cases = [f"datum.value == {value!r} ? '{form(value)}' : " for value in values]
    return "".join(cases) + "''"


def log(
    field: str,
    values: Iterable[float],
    title: str | None,
    form=prefixed,
    most: int = 5,
    pad: float = 0.06,
) -> alt.X:
    """Returns a logarithmic x axis around some values, above 0.

    Args:
        field: field of the data.
        values: what must be in range.
        title: of the axis, or None.
        form: from a tick to its label.
        most: number of ticks.
        pad: room at both ends, as a share of the range.
    """
    values = list(values) or [1.0]
    low, high = min(values), max(values)
    room = (high / low) ** pad if high > low else 1.5
    low, high = low / room, high * room
    marks = log_ticks(low, high, most)
    return alt.X(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(values=marks, labelExpr=label(marks, form)),
    )


def reach(values: Iterable[float], pad: float = 0.08) -> tuple[float, float]:
    """Returns the range of values with room at both ends."""
    values = list(values) or [0.0, 1.0]
    low, high = min(values), max(values)
    room = (high - low) * pad or abs(high) * 0.02 or 0.5
    return low - room, high + room


def decimals(marks: list[float]) -> str:
    """Returns the number format in which these ticks differ."""
    step = min((b - a for a, b in zip(marks, marks[1:])), default=1.0)
    return f".{max(0, -math.floor(math.log10(step) + 1e-9))}f"


def linear_y(
    field: str, values: Iterable[float], title: str, most: int = 5, pad: float = 0.08
) -> alt.Y:
    """Returns a y axis around some values, its title above its ticks."""
    low, high = reach(values, pad)
    marks = ticks(low, high, most)
    return alt.Y(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(domain=[low, high], nice=False, zero=False),
        axis=alt.Axis(
            values=marks,
            format=decimals(marks),
            grid=True,
            titleX=-26,
            titleY=-5,
            minExtent=26,
            maxExtent=26,
        ),
    )


def percent_reach(values: Iterable[float], ends: Iterable[float | None]) -> list[float]:
    """Returns what an axis of scores in percent must hold.

    Intervals of few seeds reach far beyond the scores. They may take two thirds of the
    axis and run out of it, so that differences between scores are seen.

    Args:
        values: the scores.
        ends: of their intervals; None if unknown.
    """
    values = list(values)
    low, high = min(values), max(values)
    room = max(high - low, _LEAST_SPAN)
    low, high = min(low, max(0.0, low - room)), max(high, min(100.0, high + room))
    return [*values, *(min(max(end, low), high) for end in ends if end is not None)]


def percent_y(
    field: str, values: Iterable[float], ends: Iterable[float | None]
) -> alt.Y:
    """Returns a y axis of scores in percent with their intervals, see `percent_reach`.

    Args:
        field: field of the data.
        values: the scores.
        ends: of their intervals; None if unknown.
    """
    return linear_y(field, percent_reach(values, ends), "%")


def linear_x(
    field: str,
    values: Iterable[float],
    title: str | None,
    most: int = 5,
    pad: float = 0.08,
    **axis: object,
) -> alt.X:
    """Returns an x axis around some values.

    Args:
        field: field of the data.
        values: what must be in range.
        title: of the axis, or None.
        most: number of ticks.
        pad: room at both ends, as a share of the range.
        **axis: of the axis, such as `orient`.
    """
    low, high = reach(values, pad)
    marks = ticks(low, high, most)
    return alt.X(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(domain=[low, high], nice=False, zero=False),
        axis=alt.Axis(values=marks, format=decimals(marks), **axis),
    )


def named_rows(field: str, names: list[str], width: int) -> alt.Y:
    """Returns a y axis with a row for each name.

    Args:
        field: field of the data.
        names: its values, from top to bottom.
        width: room for the names, in pixels.
    """
    return alt.Y(
        f"{field}:N",
        sort=names,
        title=None,
        axis=alt.Axis(
            domain=False,
            grid=False,
            labelColor=theme.var("ink"),
            labelLimit=width,
            minExtent=width,
            maxExtent=width,
        ),
    )
