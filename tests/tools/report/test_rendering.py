"""Tests that figures are rendered without collisions, and the same each time."""

import json
import re

import altair as alt
import pytest
import vl_convert

from clinometer.tools.report import rendering
from clinometer.tools.report import theme


@pytest.fixture(scope="module")
def svg(spec):
    return rendering.draw(spec)


@pytest.fixture(scope="module")
def spec():
    base = alt.Chart(alt.NamedData("points")).encode(
        x=alt.X("a:Q", title="0.12345 <b>"), y="b:Q"
    )
    chart = alt.layer(
        base.mark_line(clip=True, stroke=theme.var("layer")), base.mark_point(opacity=0)
    ).add_params(*theme.params(panel="x"))
    chart.config = alt.Config.from_dict(theme.CONFIG)
    chart.datasets = {"points": [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 1.0}]}
    made, data = rendering.spec(chart)
    assert "datasets" not in made
    return rendering.with_data(made, data | {"other": []}, "y")


def test_a_specification_takes_the_data_that_it_names_and_its_panel(spec):
    assert list(spec["datasets"]) == ["points"]
    assert {"name": "panel", "value": "y"} in spec["params"]


def test_inline_figures_share_no_ids_and_follow_the_theme(svg):
    one, two = rendering.inline(svg, "one"), rendering.inline(svg, "two")
    ids = re.findall(r'id="([^"]+)"', one)
    assert ids and all(found.startswith("one-") for found in ids)
    assert one.replace("one-", "two-") == two
    assert set(re.findall(r"url\(#([^)]+)\)", one)) <= set(ids)
    assert "var(--layer)" in one and "font-family" not in one
    assert "0.12345 &lt;b&gt;" in one  # Labels keep their digits.
    assert 'opacity="0"' not in one  # Targets are for the pointer only.


def test_files_are_of_their_format_and_equal_when_made_again(spec, svg):
    files = rendering.files(svg)
    assert files["png"].startswith(b"\x89PNG") and files["pdf"].startswith(b"%PDF")
    assert theme.LIGHT["layer"].encode() in files["svg"]
    assert b"var(--" not in files["svg"]
    assert rendering.files(svg) == files
    # A figure in the light colours, drawn as such, has the same marks and background.
    plain = theme.light(spec)
    plain["config"]["background"] = "#ffffff"
    drawn = vl_convert.vegalite_to_svg(plain, vl_version=rendering.VERSION)
    assert vl_convert.svg_to_png(drawn, scale=2) == files["png"]


def test_json_in_a_script_cannot_end_it():
    text = rendering.dumps({"name": "</script><b>\u2028"})
    assert "<" not in text and "\u2028" not in text
    assert json.loads(text) == {"name": "</script><b>\u2028"}


def test_floats_are_rounded_all_through():
    found = rendering.rounded({"a": [1.23456789, {"b": 1e-9 / 3}], "c": float("nan")})
    assert found == {"a": [1.2346, {"b": 3.3333e-10}], "c": None}
