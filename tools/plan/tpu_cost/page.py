"""Renders an HTML page with bar charts of cycles and rooflines."""

from collections.abc import Iterator
from collections.abc import Sequence
import html
from typing import Any

from clinometer.tools.plan.tpu_cost import case as case_lib
from clinometer.tools.plan.tpu_cost import report

_WIDTH = 960
_LEFT = 230  # Start of the bars.
_RIGHT = 210  # Room for the label of the longest bar.
_BAR = 14
_STEP = 18
_COLORS = {case_lib.OURS: "#2f7d5b", "xla": "#8c96a3"}
_STYLE = """\
body { font-family: sans-serif; margin: 2em auto; max-width: 60em; color: #222 }
h2 { font-size: 1.05em; margin: 1.6em 0 0.2em }
p, li { line-height: 1.45 } .note { color: #666; font-size: 0.9em }"""

_NOTES = """\
<p>Cycles are estimates of the TPU compiler for one core, not times measured on a TPU.
<b>Solid</b> bars are results of its simulator. <b>Hatched</b> bars are the bundles of
its schedule, with loops times their trip counts; they leave out stalls and include both
sides of every branch. No estimate is lower than the cycles that HBM needs for the bytes
that are moved. The <b>red line</b> is the roofline: the largest of the cycles that the
operation needs of the matrix units (at the occupancy of its tiles), of the vector
units, of the exponential unit, and of the memory.</p>"""


def draw(records: Sequence[dict[str, Any]]) -> str:
    """Returns the HTML of the page, which is self-contained."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for record in records:
        key = tuple(record[name] for name in ("op", "pass", "shape", "dtype"))
        groups.setdefault(key, []).append(record)
    versions = ", ".join(
        f"{name} {', '.join(sorted({str(r[key]) for r in records}))}"
        for name, key in (("libtpu", "libtpu_version"), ("jax", "jax_version"))
    )
    body = "\n".join(
        f"<h2>{html.escape('  '.join(key))}</h2>\n{_figure(group)}"
        for key, group in groups.items()
    )
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        "<title>Kernel cycles estimated by the TPU compiler</title>\n"
        f"<style>\n{_STYLE}\n</style>\n"
        "<h1>Kernel cycles estimated by the TPU compiler</h1>\n"
        f'{_NOTES}\n<p class="note">{html.escape(versions)}</p>\n{body}\n</html>\n'
    )


def _figure(records: Sequence[dict[str, Any]]) -> str:
    longest = max([r["cycles"] or 0 for r in records] + [_least(r) for r in records])
    scale = (_WIDTH - _LEFT - _RIGHT) / max(longest, 1)
    rows: list[str] = []
    y = 8
    last = None
    for record in records:
        if record["topology"] != last:
            y += 6 if last else 0
            last = record["topology"]
            rows.append(_text(4, y + _BAR - 3, last, "start", weight="bold"))
        rows += _row(record, y, scale)
        y += _STEP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 4}" '
        f'width="100%" role="img" font-family="sans-serif">\n'
        f"{_pattern()}\n" + "\n".join(rows) + "\n</svg>"
    )


def _row(record: dict[str, Any], y: int, scale: float) -> Iterator[str]:
    name = record["implementation"]
    yield _text(_LEFT - 8, y + _BAR - 3, name, "end")
    cycles = record["cycles"]
    if not cycles:
        said = record["reason"] or ""
        words = record["status"] + (f": {said}" if said else "")
        yield _text(_LEFT + 4, y + _BAR - 3, words[:110], "start", "#a33")
        return
    length = cycles * scale
    color = _COLORS.get(name, _COLORS["xla"])
    yield _bar(y, length, color)
    if record["status"] != report.SIMULATED:
        yield _bar(y, length, "url(#hatch)")
    if least := _least(record):
        x = _LEFT + least * scale
        yield (
            f'<line x1="{x:.1f}" y1="{y - 2}" x2="{x:.1f}" y2="{y + _BAR + 2}" '
            'stroke="#c22" stroke-width="2"/>'
        )
    part = record["fraction_of_roofline"]
    words = f"{cycles:,}" + (f" ({part:.0%} of {record['binds']})" if part else "")
    yield _text(_LEFT + length + 5, y + _BAR - 3, words, "start")


def _least(record: dict[str, Any]) -> float:
    return record["roofline_cycles"] or 0.0


def _pattern() -> str:
    return (
        '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><line x1="0" y1="0" x2="0" y2="6" '
        'stroke="white" stroke-width="3"/></pattern></defs>'
    )


def _bar(y: int, width: float, fill: str) -> str:
    return (
        f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{fill}"/>'
    )


def _text(
    x: float, y: float, text: str, anchor: str, color: str = "#222", weight: str = ""
) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11" '
        f'fill="{color}"{bold}>{html.escape(text)}</text>'
    )
