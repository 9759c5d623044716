"""Tests every chart: it is valid Vega-Lite, and its marks are the data."""

import functools
import re

import pytest

from clinometer.tools.report import costs
from clinometer.tools.report import others as others_lib
from clinometer.tools.report import rendering
from clinometer.tools.report import theme
from clinometer.tools.report.charts import by_step
from clinometer.tools.report.charts import curves
from clinometer.tools.report.charts import forest
from clinometer.tools.report.charts import frontier
from clinometer.tools.report.charts import held_out
from clinometer.tools.report.charts import multiple
from clinometer.tools.report.charts import others
from clinometer.tools.report.charts import ranks
from clinometer.tools.report.charts import residuals
from clinometer.tools.report.charts import scores
from clinometer.tools.report.charts import surface
from clinometer.tools.report.charts import timing
from clinometer.tools.report.tables import other_table
from clinometer.tools.report.tables import study_tables

_CHARTS = {
    "forest": forest.draw,
    "multiple": functools.partial(multiple.draw, panel="glu"),
    "frontier": lambda tables, variant: frontier.draw(tables, costs.COSTS[0]),
    "held_out": held_out.draw,
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
    "held_out": ("GLU", "predicted less observed loss, nats"),
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
    picture = rendering.draw(rendering.with_data(spec, data))
    for word in _WORDS[name]:
        assert word in picture
    # The shared selection is read, and never written by a chart.
    names = {param["name"] for param in spec["params"]}
    assert {"picked", "hot"} <= names
    assert all("select" not in param for param in spec["params"])
    assert "NaN" not in picture and "undefined" not in picture


def _marks(chart, colour):
    spec, data = rendering.spec(chart)
    svg = rendering.inline(rendering.draw(rendering.with_data(spec, data)), "x")
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


def test_a_line_joins_sizes_of_one_ladder_only(several):
    _, tables = several
    twice = [
        model | {"ladder": of, "training_flops": model["training_flops"] * factor}
        for model in tables["models"]
        for of, factor in (("short", 1), ("long", 4))
    ]

    def lines(models):
        names = {**tables.tables, "models": models}
        chart = multiple.draw(
            study_tables.StudyTables(tables.looks, names), panel="glu"
        )
        spec, data = rendering.spec(chart)
        svg = rendering.draw(rendering.with_data(spec, data))
        drawn = re.findall(r'd="([^"]+)"[^>]* stroke="var\(--layer\)"', svg)
        return [path for path in drawn if path.count("L") == 3]

    assert len(lines(tables["models"])) == 1
    assert len(lines(twice)) == 2
    for path in lines(twice):  # Lower losses to the right: down the picture.
        heights = [float(y) for y in re.findall(r",([-\d.]+)", path)]
        assert len(heights) == 4 and heights == sorted(heights)


def test_names_on_the_frontier_do_not_overlap(several):
    placed = frontier.placed(several[1]["models"], "parameters", "front_parameters")
    assert sum(len(one["keys"]) for one in placed) >= 2
    # In a heap of points there is room for few names only.
    far = {"key": "far", "label": "Far", "loss": 5.0, "x": 1e12, "f": 0}
    heap = [
        {"key": str(i), "label": "Transformer", "loss": 4 - i * 1e-6, "x": 1e9, "f": 1}
        for i in range(20)
    ]
    placed = frontier.placed([far, *heap], "x", "f")
    assert 1 <= sum(len(one["keys"]) for one in placed) <= 4


def test_sizes_are_named_on_the_frontier_of_one_architecture(several):
    _, tables = several
    (cost,) = (one for one in costs.COSTS if one.key == "parameters")
    two = [dict(m) for m in tables["models"]]
    for model in two:  # The smallest mixer has the lowest loss of its size.
        model["front_parameters"] |= int(
            (model["arch"], model["size"]) == ("mixer", "pico")
        )
    mixed = study_tables.StudyTables(tables.looks, {"models": two})
    pictures = []
    for shown in (mixed, tables):
        spec, data = rendering.spec(frontier.draw(shown, cost))
        pictures.append(rendering.draw(rendering.with_data(spec, data)))
    assert ">GLU milli<" in pictures[1] and ">GLU<" not in pictures[1]
    assert ">GLU<" in pictures[0] and "milli" not in pictures[0]


def test_curves_of_size_and_data_are_dashed_where_the_law_extrapolates():
    row = {"arch": "glu", "size": "pico", "name": ""}
    measured = [
        {**row, "key": "p", "tokens": t, "loss": 5 - t / 1e6} for t in (1e6, 2e6)
    ]
    beyond = [{**row, "tokens": t, "loss": 3.5, "beyond": 1} for t in (2e6, 6e6)]
    beyond[1]["name"] = "pico"
    curves = [{**one, "beyond": 0} for one in measured] + beyond
    looks = theme.looks(["glu"])
    tables = study_tables.StudyTables(looks, {"measured": measured, "surfaces": curves})
    assert surface.names(tables) == ["glu"]
    chart = surface.draw(tables, panel="glu")
    assert chart.to_dict(validate=True)["datasets"]
    assert _marks(chart, "layer") == 2
    spec, data = rendering.spec(chart)
    svg = rendering.draw(rendering.with_data(spec, data))
    lines = [line for line in re.findall(r"<path [^>]*>", svg) if "L" in line]
    lines = [line for line in lines if 'stroke="var(--layer)"' in line]
    assert sorted("stroke-dasharray" in line for line in lines) == [False, True]
    assert ">pico<" in svg and "training tokens (log)" in svg


def test_results_of_others_are_hollow_and_those_of_the_study_filled(several):
    sources, tables = several
    theirs = others_lib.read(None, [others_lib.PUBLISHED])
    rows = other_table.make(theirs, tables["models"])
    looks = theme.looks([*tables.looks, *(row["arch"] for row in rows)])
    wider = study_tables.StudyTables(looks, {"others": rows})
    panel = "params_total: validation_loss_nats"
    spec, data = rendering.spec(others.draw(wider, panel=panel))
    svg = rendering.inline(rendering.draw(rendering.with_data(spec, data)), "x")
    published = sum(r["panel"] == panel and not r["own"] for r in rows)
    assert published == 16  # Of Tables 3 and 4.
    assert '<g fill="none"' in svg  # Of all marks without a fill of their own.
    hollow = [path for path in re.findall(r"<path [^>]*>", svg) if "fill=" not in path]
    assert sum('stroke="var(--muted)"' in path for path in hollow) == published
    assert len(re.findall(r'fill="var\(--layer\)"', svg)) == 4  # glu at four sizes.
    assert "XXL" in svg and "stroke-dasharray" not in "".join(hollow)
