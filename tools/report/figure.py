"""A figure of a page: its specifications for wide pages and phones, and its words."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

import altair as alt

from clinometer.tools.report import rendering


@dataclasses.dataclass(frozen=True, eq=False)
class Figure:
    """A figure.

    Attributes:
        name: name of its files, unique on its page.
        title: heading above it.
        text: what it shows, for readers who cannot see it.
        specs: "wide" and, if it has another for phones, "narrow" -> specification
            without data.
        data: the tables that they name.
        panel: value of their parameter `panel`; None if they have none.
        arch: the architecture that it is about, or "".
        note: written beside its heading.
        emphasis: class of the note.
    """

    name: str
    title: str
    text: str
    specs: Mapping[str, rendering.Spec]
    data: Mapping[str, list]
    panel: str | None = None
    arch: str = ""
    note: str = ""
    emphasis: str = ""

    def complete(self, variant: str = "wide") -> rendering.Spec:
        """Returns a complete specification, with its data."""
        return rendering.with_data(self.specs[variant], self.data, self.panel)

    @functools.cached_property
    def drawn(self) -> Mapping[str, str]:
        """Each variant as SVG, see `rendering.draw`."""
        return {name: rendering.draw(self.complete(name)) for name in self.specs}

    def at(self, panel: str, **words: str) -> "Figure":
        """Returns another panel of this figure, with the same specification.

        Args:
            panel: value of its parameter `panel`.
            **words: fields in which it differs, such as its name.
        """
        return dataclasses.replace(self, panel=panel, **words)

    def files(self) -> dict[str, bytes]:
        """Returns the contents of its files by format, see `rendering.FORMATS`."""
        return rendering.files(self.drawn["wide"])


def make(
    name: str,
    title: str,
    text: str,
    draw: Callable[[str], alt.TopLevelMixin],
    *,
    narrow: bool = False,
    **more: Any,
) -> Figure:
    """Returns a figure.

    Args:
        name: name of its files.
        title: heading above it.
        text: what it shows.
        draw: variant, "wide" or "narrow" -> chart.
        narrow: whether it has another variant for phones.
        **more: further fields of the figure.
    """
    specs, data = {}, {}
    for variant in ("wide", "narrow") if narrow else ("wide",):
        made, tables = rendering.spec(draw(variant))
        # Panels share a specification on the page, so their value is set later.
        for param in made["params"]:
            if param["name"] == "panel":
                param["value"] = ""
        specs[variant] = rendering.rounded(made)
        data |= tables
    return Figure(name, title, text, specs, data, **more)
