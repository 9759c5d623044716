"""Tests the skeleton of pages: what it allows, and that names are text."""

import re

import jinja2
import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import build
from clinometer.tools.report import page
from clinometer.tools.report import theme


@pytest.fixture
def html(several):
    sources, tables = several
    del sources
    return page.render(
        "study/chips.html", "A <title>", tables.looks, {"runs": {"</script>": ["<b>"]}}
    )


def test_the_legend_has_families_in_order(html):
    names = re.findall(r'data-pick="([^"]+)"', html)
    assert names == ["transformer", "glu", "mixer"]
    assert re.findall(r'class="fam">([^<]+)', html) == [
        *("Vanilla", "Richer layers", "No attention in the encoder"),
    ]


def test_scripts_are_allowed_by_hash_and_nothing_else(tmp_path, without_figures):
    del without_figures
    synthetic_study.write_run(tmp_path / "a", synthetic_study.record())
    text = build.build(tmp_path).page.read_text(encoding="utf-8")
    (policy,) = re.findall(
        r'http-equiv="Content-Security-Policy" content="([^"]+)"', text
    )
    assert policy.startswith("default-src &#39;none&#39;") and "connect" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 3
    for script in scripts:
        assert page.integrity(script) in policy.replace("&#43;", "+")
    assert "connect-src" in page._policy({}, live=True)


def test_a_template_without_a_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        page.render("study/lead.html", "x", theme.looks(["glu"]))


def test_tables_travel_by_column():
    rows = [{"a": 1.234567, "b": None}, {"a": 2, "c": "x"}]
    assert page._packed(rows) == {
        "columns": ["a", "b", "c"],
        "rows": [[1.2346, None, None], [2, None, "x"]],
    }
