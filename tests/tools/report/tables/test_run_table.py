"""Tests the tables of runs and of their curves."""

import math

import pytest

from clinometer.tools.report.tables import run_table


def test_residuals_are_from_the_mean_of_the_model(several):
    runs = several[1]["runs"]
    own = [run["residual"] for run in runs if run["key"] == "glu-pico"]
    assert sum(own) == pytest.approx(0) and own[0] != 0
    (failed,) = (run for run in runs if run["status"] == "failed")
    assert failed["loss"] is None and failed["residual"] is None
    assert "the loss is nan" in failed["flag"]
    assert all(run["spread"] == pytest.approx(0.03) for run in runs)


def test_curves_of_large_studies_are_one_of_each_model_and_those_that_failed(several):
    runs = several[1]["runs"]
    drawn = run_table.drawn_curves(runs)
    assert len(drawn) == 13 and "mixer-failed" in drawn
    assert run_table.drawn_curves(runs[:24]) == {run["id"] for run in runs[:24]}


def test_curves_are_thinned_on_a_logarithmic_axis(several):
    curves = [row for row in several[1]["curves"] if row["id"] == "glu-pico-o1-s1"]
    assert len(curves) <= 40 and curves[-1]["step"] == 600
    assert [row["last"] for row in curves] == [0] * (len(curves) - 1) + [1]
    # Early points are kept one by one: the loss that was written at step 20.
    end = curves[-1]["loss"]
    early = curves[1]
    assert early["step"] == 20
    written = end + (7.6 - end) * math.exp(-20 / 90)
    # At the end the exponential is e^(-600 / 90) of 3 nats, so 0.004.
    assert early["loss"] == pytest.approx(written, abs=5e-3)
    checks = [r for r in several[1]["checks"] if r["id"] == "glu-pico-o1-s1"]
    assert [row["step"] for row in checks] == [200, 400, 600]
