"""Tests the page of a benchmark's file."""

import json
import re

import pytest

from clinometer.tools.report import bench_page
from clinometer.tools.report import main


def _record(name, pass_name, ratio, **changes):
    record = {
        "op": "light_conv",
        "pass": pass_name,
        "implementation": name,
        "shape": "b2s64<b>",
        "dtype": "float32",
        "median_seconds": 0.001 / ratio,
        "iqr_seconds": 0.0001,
        "ratio_to_best_reference": ratio,
        "host_cpu": "AMD EPYC",
        "threads": 2,
        "versions": {"jax": "0.10.2"},
    }
    return record | changes


@pytest.fixture
def records():
    return [
        _record("cpu", "forward", 2.5),
        _record("reference", "forward", 1.0),
        _record("cpu", "forward+backward", 0.8),
    ]


def test_the_page_has_every_ratio_and_names_the_conditions(records):
    html, figure = bench_page.render(records)
    assert "faster than the best jnp form in 1 of 2 cases, 0.80 to 2.5 times" in html
    assert "AMD EPYC, 2 threads, float32, jax 0.10.2" in html
    assert "b2s64&lt;b&gt;" in html and "b2s64<b>" not in html
    (table,) = re.findall(r'data-name="bench".*?</table>', html, re.DOTALL)
    for words in (">2.50<", ">0.80<", ">0.400<", ">forward+backward<"):
        assert words in table
    svg = figure.files()["svg"].decode()
    for words in ("light_conv", "forward+backward", "best jnp form"):
        assert words in svg
    ours = [row["ratio"] for row in figure.data["bench"] if row["ours"]]
    assert ours == [2.5, 0.8]


def test_fields_that_others_write_are_not_needed(records):
    needed = ("op", "pass", "implementation", "shape", "dtype")
    few = [
        {key: r[key] for key in (*needed, "ratio_to_best_reference")} for r in records
    ]
    html, _ = bench_page.render(few)
    assert ">–<" in html


def test_report_takes_a_bench_file(records, tmp_path, capsys):
    path = tmp_path / "in" / "new.json"
    path.parent.mkdir()
    path.write_text(json.dumps(records))
    assert main.main([str(path)]) == 0
    names = {f"new.{form}" for form in ("json", "html", "svg", "png", "pdf", "csv")}
    assert {found.name for found in path.parent.iterdir()} == names
    assert "new.html" in capsys.readouterr().out
    first = (path.parent / "new.html").read_bytes()
    assert main.main([str(path), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "new.html").read_bytes() == first


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot be read as JSON"), ("[{}]", "record 0 has no op"), ("[]", "a list")],
)
def test_another_file_is_refused(tmp_path, capsys, text, message):
    (tmp_path / "a.json").write_text(text)
    assert main.main([str(tmp_path / "a.json")]) == 2
    assert message in capsys.readouterr().err
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]
