"""Tests every chart: it is valid Vega-Lite, and its marks are the data."""

import functools
import re

import pytest

from clinometer.tools.report import costs
from clinometer.tools.report import rendering
from clinometer.tools.report.charts import by_step
from clinometer.tools.report.charts import curves
from clinometer.tools.report.charts import forest
from clinometer.tools.report.charts import frontier
from clinometer.tools.report.charts import multiple
from clinometer.tools.report.charts import ranks
from clinometer.tools.report.charts import residuals
from clinometer.tools.report.charts import scores
from clinometer.tools.report.charts import timing

_CHARTS = {
    "forest": forest.draw,
    "multiple": functools.partial(multiple.draw, panel="glu"),
    "frontier": lambda tables, variant: frontier.draw(tables, costs.COSTS[0]),
    "scores": functools.partial(scores.draw, panel="rte"),
    "by_step": functools.partial(by_step.draw, panel="rte"),
    "ranks": ranks.draw,
    "curves": functools.partial(curves.draw, panel="nano"),
    "residuals": residuals.draw,
    "timing": timing.draw,
}
# Chart -> words that its picture has.
_WORDS = {
    "forest": ("GLU", "gains less", "×1"),
    "multiple": ("nats", "1T"),
    "frontier": ("GLU", "training FLOPs of the whole run (log)"),
    "scores": ("GLU", "validation loss"),
    "by_step": ("pretraining step", "600"),
    "ranks": ("GLU  1", "by score"),
    "curves": ("step (log)", "nats"),
    "residuals": ("pico", "milli", "loss less the mean of its model, nats"),
    "timing": ("milli", "interquartile range of speed / median"),
}


@pytest.mark.parametrize("variant", ["wide", "narrow"])
@pytest.mark.parametrize("name", _CHARTS)
def test_charts_are_valid_and_say_what_they_show(several, name, variant):
    chart = _CHARTS[name](several[1], variant)
    assert chart.to_dict(validate=True)["datasets"]
    spec, data = rendering.spec(chart)
    picture = rendering.files(rendering.with_data(spec, data), ("svg",))["svg"].decode()
    for word in _WORDS[name]:
        assert word in picture
    # The shared selection is read, and never written by a chart.
    names = {param["name"] for param in spec["params"]}
    assert {"picked", "hot"} <= names
    assert all("select" not in param for param in spec["params"])
    assert "NaN" not in picture and "undefined" not in picture


def _marks(chart, colour):
    spec, data = rendering.spec(chart)
    svg = rendering.inline(rendering.with_data(spec, data), "x")
    return len(re.findall(rf'fill="var\(--{colour}\)"', svg))


def test_a_picked_architecture_is_coloured(several):
    _, tables = several
    chart = residuals.draw(tables)
    plain = _marks(chart, "layer")
    chart.params[0].value = ["glu"]
    assert plain == 0
    assert _marks(chart, "layer") == 8  # Two runs at each of four sizes.


def test_the_panel_is_the_architecture(several):
    _, tables = several
    for arch, hue in (("glu", "layer"), ("mixer", "conv")):
        chart = multiple.draw(tables, panel=arch)
        assert _marks(chart, hue) >= 4
    assert _marks(multiple.draw(tables, panel="glu"), "conv") == 0


def test_names_on_the_frontier_do_not_overlap(several):
    placed = frontier._placed(several[1]["models"], "parameters", "front_parameters")
    assert sum(len(one["keys"]) for one in placed) >= 2
    # In a heap of points there is room for few names only.
    far = {"key": "far", "label": "Far", "loss": 5.0, "x": 1e12, "f": 0}
    heap = [
        {"key": str(i), "label": "Transformer", "loss": 4 - i * 1e-6, "x": 1e9, "f": 1}
        for i in range(20)
    ]
    placed = frontier._placed([far, *heap], "x", "f")
    assert 1 <= sum(len(one["keys"]) for one in placed) <= 4
