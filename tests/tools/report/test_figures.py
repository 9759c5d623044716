"""Tests that the figures of a folder of runs are Altair charts with their data."""

import altair as alt

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import figures
from clinometer.tools.report import theme


def test_every_figure_is_a_chart_with_its_data(tmp_path):
    synthetic_study.write_study(tmp_path)
    charts = figures.of_folder(tmp_path)
    assert {"loss-transformer", "frontier-training-flops"} <= set(charts)
    assert all(isinstance(chart, alt.LayerChart) for chart in charts.values())
    spec = charts["loss-transformer"].to_dict()
    drawn = {row["id"]: row["loss"] for row in spec["datasets"]["runs"]}
    for size in ("nano", "micro", "milli"):
        loss = synthetic_study.record(size)["metrics"]["validation/loss"]
        assert drawn[f"transformer-{size}-s0"] == loss
    text = str(spec)
    assert "var(--" not in text and theme.LIGHT["vanilla"] in text
