"""Renders pages from templates: one file each, which loads nothing.

A page is complete without its script: every figure is inline SVG and every table is
there. The script lays live figures over the static ones, with one selection for all.
"""

import base64
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import hashlib
import json
import pathlib
from typing import Any

import jinja2
import markupsafe

from clinometer.tools.report import figure as figure_lib
from clinometer.tools.report import rendering
from clinometer.tools.report import theme

_FOLDER = pathlib.Path(__file__).parent
_BOOT = "document.documentElement.classList.add('js')"


def render(
    template: str,
    title: str,
    looks: Mapping[str, theme.Look],
    cards: Mapping[str, Any] | None = None,
    live: bool = False,
    **context: Any,
) -> str:
    """Returns the HTML of a page; all names in it are escaped.

    Args:
        template: file name below `templates/`.
        title: title of the document.
        looks: the architectures that can be picked.
        cards: what is said beside marks, see `cards.make`.
        live: whether the page asks its server for changes, see `serving.py`.
        **context: what the template needs.
    """
    figures = _Figures()
    scripts = {
        "boot": _BOOT,
        "bundle": _bundle(),
        "page": _static("page.js"),
    }
    html = (
        _environment()
        .get_template(template)
        .render(
            title=title,
            looks=looks,
            families=_families(looks),
            style=markupsafe.Markup(_static("style.css")),
            light=theme.LIGHT,
            dark=theme.DARK,
            policy=_policy(scripts, live),
            scripts={key: markupsafe.Markup(text) for key, text in scripts.items()},
            figure=figures.show,
            label_of=theme.label,
            glyph=functools.partial(_glyph, looks),
            marks={_mark_id(look): look for look in looks.values()},
            payload=lambda: markupsafe.Markup(
                rendering.dumps(
                    {
                        "specs": figures.specs,
                        "data": {k: _packed(v) for k, v in figures.data.items()},
                        "cards": cards or {},
                        "labels": {n: look.label for n, look in looks.items()},
                        "live": live,
                    }
                )
            ),
            **context,
        )
    )
    return html + "\n"


def integrity(script: str) -> str:
    """Returns the hash by which a Content-Security-Policy allows a script."""
    digest = hashlib.sha256(script.encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode()


@functools.cache
def _bundle() -> str:
    return rendering.script()


def _static(name: str) -> str:
    return (_FOLDER / "static" / name).read_text(encoding="utf-8")


def _policy(scripts: Mapping[str, str], live: bool) -> str:
    allowed = " ".join(f"'{integrity(text)}'" for text in scripts.values())
    connect = "connect-src 'self'; " if live else ""
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; {connect}"
        f"base-uri 'none'; form-action 'none'; script-src {allowed}"
    )


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _families(looks: Mapping[str, theme.Look]) -> list[dict[str, Any]]:
    """Returns the families with their architectures, for the legend."""
    found: dict[str, list[theme.Look]] = {}
    for look in looks.values():
        found.setdefault(look.family, []).append(look)
    order = [*theme.HUES, *sorted(set(found) - set(theme.HUES))]
    return [
        {"name": name[:1].upper() + name[1:], "looks": found[name]}
        for name in order
        if name in found
    ]


def _glyph(looks: Mapping[str, theme.Look], name: str) -> markupsafe.Markup:
    """Returns the mark of an architecture beside its name; nothing without one."""
    if name not in looks:
        return markupsafe.Markup("")
    look = looks[name]
    return markupsafe.Markup(
        '<svg class="glyph" viewBox="-1.15 -1.15 2.3 2.3" aria-hidden="true">'
        '<use href="#{}"/></svg>'
    ).format(_mark_id(look))


def _mark_id(look: theme.Look) -> str:
    """Returns the id of an architecture's mark, of letters and digits only."""
    return "mark-" + hashlib.sha256(look.name.encode()).hexdigest()[:8]


def _packed(rows: Sequence[Mapping[str, Any]]) -> dict[str, list]:
    """Returns a table as its columns' names and lists of values, which is smaller."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    values = rendering.rounded([[row.get(c) for c in columns] for row in rows])
    return {"columns": columns, "rows": values}


@dataclasses.dataclass
class _Figures:
    """Collects what the live figures of a page need, as the static ones are shown."""

    specs: list[rendering.Spec] = dataclasses.field(default_factory=list)
    data: dict[str, list] = dataclasses.field(default_factory=dict)

    def show(self, one: figure_lib.Figure) -> markupsafe.Markup:
        """Returns a figure's static variants; the script finds its specifications."""
        statics, places = [], []
        for variant, spec in one.specs.items():
            svg = rendering.inline(one.drawn[variant], f"{one.name}-{variant[0]}")
            # The only one for screens serves every screen.
            kind = variant if "narrow" in one.specs else "only"
            statics.append(f'<div class="static {kind}">{svg}</div>')
            places.append(f'data-{variant}="{self._place(spec)}"')
        self.data |= one.data
        panel = ""
        if one.panel is not None:
            panel = f' data-panel="{markupsafe.escape(one.panel)}"'
        return markupsafe.Markup(
            f'<div class="plot" role="img" tabindex="0" data-figure="{one.name}" '
            f'aria-label="{markupsafe.escape(one.text)}" {" ".join(places)}{panel}>'
            f"{''.join(statics)}</div>"
        )

    def _place(self, spec: rendering.Spec) -> int:
        """Returns the index of a specification, which several panels may share."""
        text = json.dumps(spec)
        for i, other in enumerate(self.specs):
            if json.dumps(other) == text:
                return i
        self.specs.append(spec)
        return len(self.specs) - 1
