"""Renders charts: as inline SVG for the page, and as SVG, PNG and PDF files."""

from collections.abc import Iterable
from collections.abc import Mapping
import json
import math
import re
from typing import Any

import altair as alt
import vl_convert

from clinometer.tools.report import theme

VERSION = "6.4"  # Of Vega-Lite, among those in vl-convert.
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
FORMATS = ("svg", "png", "pdf")
_DIGITS = 5
_WHITE = '<rect width="100%" height="100%" fill="#ffffff"/>'
_RESOURCES = re.compile(rb"(?:^ +/\w+ \d+ 0 R\n){2,}", re.MULTILINE)

Spec = dict[str, Any]


def spec(chart: alt.TopLevelMixin) -> tuple[Spec, dict[str, list]]:
    """Returns the specification of a chart without its data, and the data by name."""
    made = chart.to_dict(validate=False)
    made.pop("$schema", None)
    return made, made.pop("datasets", {})


def with_data(spec: Spec, data: Mapping[str, list], panel: str | None = None) -> Spec:
    """Returns a complete specification.

    Args:
        spec: from `spec`.
        data: tables by name; those that it names are taken.
        panel: value of its parameter `panel`, if it has one.
    """
    text = json.dumps(spec)
    made = json.loads(text)
    for param in made["params"]:
        if param["name"] == "panel" and panel is not None:
            param["value"] = panel
    made["datasets"] = {k: v for k, v in data.items() if f'"name": "{k}"' in text}
    return {"$schema": _SCHEMA, **made}


def rounded(value: Any) -> Any:
    """Rounds all floats to significant digits, which keeps pages small."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return float(f"{value:.{_DIGITS}g}")
    return value


def draw(spec: Spec) -> str:
    """Returns a figure as SVG, with CSS variables as colours.

    Args:
        spec: a complete specification.
    """
    return vl_convert.vegalite_to_svg(spec, vl_version=VERSION)


def inline(svg: str, prefix: str) -> str:
    """Returns a figure as an <svg> element for a page, in the page's colours.

    Args:
        svg: from `draw`.
        prefix: of the ids in it, unique on the page.
    """
    svg = _renumbered(svg, prefix)
    svg = re.sub(r' font-family="[^"]*"', "", svg)
    # Inside of tags only, so that numbers in labels keep their digits.
    svg = re.sub(r"<[^>]+>", lambda t: re.sub(r"-?\d+\.\d{2,}", _short, t[0]), svg)
    svg = re.sub(r'<path [^>]*? opacity="0"[^>]*?(/>|></path>)', "", svg)  # Targets.
    svg = re.sub(r' (aria-[a-z]+|role|class|pointer-events)="[^"]*"', "", svg)
    svg = re.sub(r"<g>\s*</g>", "", svg)
    return svg.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")


def _renumbered(svg: str, prefix: str) -> str:
    """Returns a figure whose ids do not depend on those drawn before it."""
    ids: dict[str, str] = {}
    for found in re.findall(r'id="([^"]+)"', svg):
        ids.setdefault(found, f"{prefix}-{len(ids)}")
    for old, new in ids.items():
        svg = re.sub(rf'id="{re.escape(old)}"', f'id="{new}"', svg)
        svg = svg.replace(f"url(#{old})", f"url(#{new})")
    return svg


def _short(number: re.Match) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def files(svg: str, formats: Iterable[str] = FORMATS) -> dict[str, bytes]:
    """Returns a figure as files of its own, on white and in the light colours.

    Args:
        svg: from `draw`.
        formats: some of `FORMATS`.

    Returns:
        Format -> contents.
    """
    start, end = theme.in_light(svg).split(">", 1)  # After the <svg> element's start.
    svg = _renumbered(f"{start}>{_WHITE}{end}", "id")
    made = {
        "svg": lambda: (svg.strip() + "\n").encode(),
        "png": lambda: vl_convert.svg_to_png(svg, scale=2),
        "pdf": lambda: _ordered(vl_convert.svg_to_pdf(svg)),
    }
    return {form: made[form]() for form in formats}


def _ordered(pdf: bytes) -> bytes:
    """Returns a PDF with its lists of resources in order, which svg2pdf gives no order.

    Whole lines change places within a list, so that no offset in the file changes.
    """
    parts = re.split(rb"(\bstream\r?\n.*?\nendstream)", pdf, flags=re.DOTALL)
    parts[::2] = [
        _RESOURCES.sub(
            lambda found: b"".join(sorted(found[0].splitlines(keepends=True))), part
        )
        for part in parts[::2]
    ]
    return b"".join(parts)


def script() -> str:
    """Returns the JavaScript that draws live figures, with `window.vegaEmbed`."""
    return vl_convert.javascript_bundle(
        "window.vegaEmbed=vegaEmbed;", vl_version=VERSION
    )


def dumps(value: Any) -> str:
    """Returns JSON that is safe inside of a <script> element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028")
