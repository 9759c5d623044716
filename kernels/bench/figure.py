"""Draws ratios as an SVG bar chart, without a plotting library."""

from collections.abc import Sequence
from typing import Any
from xml.sax import saxutils

_WIDTH = 900
_LEFT = 330  # where the bars begin
_RIGHT = 70  # room for the number after the longest bar
_BAR = 15
_STEP = 19
_TOP = 78
_BOTTOM = 48
_COLORS = {"forward": "#4878a8", "forward+backward": "#d98532"}
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def draw(records: Sequence[dict[str, Any]], implementation: str = "cpu") -> str:
    """Returns a bar chart (SVG) of an implementation's ratios to the best jnp form.

    Args:
        records: benchmark records.
        implementation: the implementation to show.

    Raises:
        ValueError: if there is no record of that implementation.
    """
    shown = [r for r in records if r["implementation"] == implementation]
    if not shown:
        raise ValueError(f"the figure needs {implementation}, which was not measured")
    largest = max(1.0, *(r["ratio_to_best_reference"] for r in shown))
    scale = (_WIDTH - _LEFT - _RIGHT) / largest
    cases = list(dict.fromkeys((r["op"], r["shape"]) for r in shown))
    body = []
    y = _TOP
    for op, shape in cases:
        group = [r for r in shown if (r["op"], r["shape"]) == (op, shape)]
        middle = y + _STEP * len(group) / 2
        body.append(_text(_LEFT - 8, middle - 3, op, "end", 12))
        body.append(_text(_LEFT - 8, middle + 10, shape, "end", 10, "#666"))
        for record in group:
            ratio = record["ratio_to_best_reference"]
            color = _COLORS[record["pass"]]
            length = ratio * scale
            body.append(_bar(_LEFT, y, length, color))
            number = f"{ratio:.2f}"
            body.append(_text(_LEFT + length + 5, y + _BAR - 3, number, "start", 11))
            y += _STEP
        y += 10
    height = y + _BOTTOM
    conditions = shown[0]
    title = "C++ CPU kernels against the best plain-jnp form of the same run"
    subtitle = (
        f"{conditions['host_cpu']}, {conditions['threads']} threads, "
        f"{conditions['isa']}, {conditions['dtype']}, jax "
        f"{conditions['versions'].get('jax', '?')}"
    )
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        _text(16, 24, title, "start", 16),
        _text(16, 42, subtitle, "start", 11, "#666"),
    ]
    x = 16
    for name in dict.fromkeys(r["pass"] for r in shown):
        head.append(_bar(x, 52, 12, _COLORS[name], 12))
        head.append(_text(x + 17, 62, name, "start", 11))
        x += 110
    axis = _axis(largest, scale, y)
    label = "ratio: seconds of the best jnp form / seconds of the kernel (1 = equal)"
    foot = [_text((_LEFT + _WIDTH - _RIGHT) / 2, y + 36, label, "middle", 11), "</svg>"]
    return "\n".join([*head, *axis, *body, *foot]) + "\n"


def _axis(largest: float, scale: float, bottom: float) -> list[str]:
    """Returns about six grid lines with labels, with a darker line at 1."""
    step = next((s for s in _STEPS if largest / s <= 7), largest / 5)
    ticks = [step * i for i in range(int(largest / step) + 1)]
    lines = []
    for value in sorted({*ticks, 1.0}):
        x = _LEFT + value * scale
        color = "#888" if value == 1.0 else "#ddd"
        lines.append(
            f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{bottom:.1f}" '
            f'stroke="{color}"/>'
        )
        lines.append(_text(x, bottom + 16, f"{value:g}", "middle", 11))
    return lines


def _bar(x: float, y: float, width: float, color: str, height: int = _BAR) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" '
        f'fill="{color}"/>'
    )


def _text(
    x: float, y: float, text: str, anchor: str, size: int, color: str = "#222"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{color}">{saxutils.escape(text)}</text>'
    )
