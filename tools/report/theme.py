"""Colours, shapes and defaults of all figures and of the page.

Hue means the family of an architecture and nothing else; red means trouble. Colours in
charts are CSS variables, so that one figure follows light, dark and paper; `light`
writes them out for files of their own.
"""

from collections.abc import Iterable
import dataclasses
import json
import re
from typing import Any

import altair as alt

from clinometer import models

# Four hues and grey, chosen so that the smallest CIELAB distance under simulated
# deuteranopia, protanopia and tritanopia stays at 18 (light) and 16 (dark).
LIGHT = {
    "paper": "#ffffff",
    "ink": "#1b2026",
    "muted": "#59636e",
    "faint": "#c9cfd6",
    "ghost": "#aab3bd",
    "grid": "#eceff2",
    "band": "#f0f2f5",
    "vanilla": "#4a525b",
    "layer": "#1f5fbf",
    "shared": "#d0500c",
    "cheap": "#0a8f7a",
    "conv": "#5b1a66",
    "focus": "#1f5fbf",
    "bad": "#b3202c",
    "open": "#66707b",
}
DARK = {
    "paper": "#14181d",
    "ink": "#e9edf1",
    "muted": "#a4aeb9",
    "faint": "#4d5661",
    "ghost": "#6d7884",
    "grid": "#242a31",
    "band": "#20262d",
    "vanilla": "#9aa4ae",
    "layer": "#4f9cf5",
    "shared": "#f07b3f",
    "cheap": "#c9e265",
    "conv": "#e38bd8",
    "focus": "#6fb0fb",
    "bad": "#ff8a84",
    "open": "#8e99a5",
}
# Family in `models.ARCHITECTURES` -> its colour; others are grey.
HUES = {
    "vanilla": "vanilla",
    "richer layers": "layer",
    "shared weights": "shared",
    "cheaper attention": "cheap",
    "no attention in the encoder": "conv",
}
# Paths in the square from -1 to 1, for figures, chips and tables alike. Those after
# "saltire" are for architectures from files of the user's own.
SHAPES = {
    "circle": "M.8,0A.8,.8,0,1,1,-.8,0A.8,.8,0,1,1,.8,0Z",
    "triangle-up": "M0,-.95L.95,.75L-.95,.75Z",
    "square": "M-.75,-.75H.75V.75H-.75Z",
    "diamond": "M0,-1L1,0L0,1L-1,0Z",
    "star": "M0,-1L.27,-.36L.95,-.31L.43,.13L.59,.81L0,.45L-.59,.81L-.43,.13"
    "L-.95,-.31L-.27,-.36Z",
    "hexagon": "M-.5,-.87H.5L1,0L.5,.87H-.5L-1,0Z",
    "dome": "M-.95,.45A.95,.95,0,0,1,.95,.45Z",
    "cross": "M-.33,-.95H.33V-.33H.95V.33H.33V.95H-.33V.33H-.95V-.33H-.33Z",
    "triangle-down": "M0,.95L.95,-.75L-.95,-.75Z",
    "triangle-left": "M-.95,0L.7,-.95V.95Z",
    "hourglass": "M-.85,-.9H.85L.2,0L.85,.9H-.85L-.2,0Z",
    "saltire": "M-.9,-.5L-.5,-.9L0,-.4L.5,-.9L.9,-.5L.4,0L.9,.5L.5,.9L0,.4"
    "L-.5,.9L-.9,.5L-.4,0Z",
    "triangle-right": "M.95,0L-.7,-.95V.95Z",
    "house": "M0,-.95L.8,-.2V.85H-.8V-.2Z",
    "bar": "M-.95,-.38H.95V.38H-.95Z",
    "pillar": "M-.38,-.95H.38V.95H-.38Z",
    "kite": "M0,-.95L.75,-.3L0,.95L-.75,-.3Z",
    "bowl": "M-.95,-.45A.95,.95,0,0,0,.95,-.45Z",
}
FONT = "Liberation Sans, Arial, sans-serif"  # Bundled with vl-convert.
# Whether the shared selection shows an architecture: as one of all, or as one picked.
PICKED = "(length(picked) == 0 || indexof(picked, datum.arch) >= 0)"
CHOSEN = "(length(picked) > 0 && indexof(picked, datum.arch) >= 0)"


@dataclasses.dataclass(frozen=True)
class Look:
    """How an architecture is shown.

    Attributes:
        name: its name.
        label: its name for readers.
        family: its family; "other" if it has none.
        hue: name of the colour of its family.
        shape: path of its mark.
    """

    name: str
    label: str
    family: str
    hue: str
    shape: str


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Returns name -> look, by family and in the order of `models.ARCHITECTURES`.

    Args:
        names: the architectures of a study. No two share a shape while there are
            shapes; those without one of their own take what is free.
    """
    known, families = list(models.ARCHITECTURES), list(HUES)

    def order(name: str) -> tuple[int, int, str]:
        kind = models.ARCHITECTURES.get(name)
        own = kind is not None and kind.family in families
        family = families.index(kind.family) if own else len(families)
        return family, known.index(name) if name in known else len(known), name

    ordered = sorted(set(names), key=order)
    taken = {models.ARCHITECTURES[n].mark for n in known}
    free = [shape for shape in SHAPES if shape not in taken]
    found = {}
    for name in ordered:
        kind = models.ARCHITECTURES.get(name)
        family = kind.family if kind else "other"
        shape = kind.mark if kind and kind.mark in SHAPES else None
        if shape is None:
            shape = free.pop(0) if free else "circle"
        found[name] = Look(
            name=name,
            label=label(name),
            family=family,
            hue=HUES.get(family, "muted"),
            shape=SHAPES[shape],
        )
    return found


def label(name: str) -> str:
    """Returns the name of an architecture for readers, such as ALBERT."""
    kind = _kinds().get(name)
    return (kind.label if kind else "") or name[:1].upper() + name[1:]


def labelled(text: str) -> str:
    """Returns text in which architectures have their names for readers."""
    known = _kinds()
    return re.sub(r"\b[a-z]\w*", lambda m: label(m[0]) if m[0] in known else m[0], text)


def _kinds() -> dict[str, Any]:
    """Returns all architectures by name, with those registered since the start."""
    return {**models.ARCHITECTURES, **models.IMAGE_ARCHITECTURES}


def var(name: str) -> str:
    """Returns the CSS variable of a colour."""
    return f"var(--{name})"


def light(spec: dict[str, Any]) -> dict[str, Any]:
    """Returns a specification with the colours of the light theme written out."""
    return json.loads(in_light(json.dumps(spec)))


def in_light(text: str) -> str:
    """Returns text, such as SVG, with the colours of the light theme written out."""
    return re.sub(r"var\(--(\w+)\)", lambda m: LIGHT[m[1]], text)


def hue(looks: dict[str, Look]) -> alt.Scale:
    """Returns the scale from architectures to colours."""
    return alt.Scale(
        domain=list(looks), range=[var(look.hue) for look in looks.values()]
    )


def glyph(looks: dict[str, Look]) -> alt.Scale:
    """Returns the scale from architectures to shapes."""
    return alt.Scale(domain=list(looks), range=[look.shape for look in looks.values()])


def params(**more: Any) -> list[alt.Parameter]:
    """Returns the shared selection as plain signals, which the page's script writes.

    Args:
        **more: further parameters of the chart and their values, such as its panel.
    """
    values = {"picked": [], "hot": "", **more}
    return [alt.param(name=key, value=value) for key, value in values.items()]


CONFIG = {
    "background": "transparent",
    "font": FONT,
    "aria": False,
    "view": {"stroke": None},
    "axis": {
        "labelFont": FONT,
        "titleFont": FONT,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelColor": var("muted"),
        "titleColor": var("muted"),
        "gridColor": var("grid"),
        "domainColor": var("faint"),
        "tickColor": var("faint"),
        "tickSize": 4,
        "labelPadding": 3,
        "labelOverlap": False,
        "domain": False,
        "titlePadding": 6,
    },
    "axisX": {"grid": False, "domain": True},
    "axisY": {
        "ticks": False,
        "titleAngle": 0,
        "titleAlign": "left",
        "titleAnchor": "end",
        "titleBaseline": "bottom",
    },
    "text": {"font": FONT, "fontSize": 11, "fill": var("ink")},
    "rule": {"stroke": var("faint")},
}
