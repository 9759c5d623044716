"""Tests the tables of slopes and laws."""

import dataclasses

import pytest

from clinometer.tools.laws import left_out
from clinometer.tools.report.grids import frontiers
from clinometer.tools.report.grids import laws
from clinometer.tools.report.grids import tasks


def _row(grid, name):
    (found,) = (
        [cell.shown for cell in row] for row in grid.body if row[0].shown == name
    )
    return found


def test_slopes_are_those_of_the_fits(several):
    found = several[0].laws.alphas
    row = _row(laws.five("alphas", found), "GLU")
    assert row[0] == "GLU" and len(row) == 6
    (alpha,) = (a for a in found if (a.architecture, a.pair) == ("glu", "F,U"))
    assert float(row[1]) == pytest.approx(alpha.slope, abs=5e-4)
    assert laws.slope(alpha).error.startswith("[")
    scattered = dataclasses.replace(alpha, interval_of="scatter")
    assert laws.slope(scattered).error.startswith("(")
    missing = dataclasses.replace(alpha, slope=None, reason="noise")
    assert laws.slope(missing).shown == "–"
    assert laws.missing_slopes([missing, alpha]) == ["GLU F,U: noise"]


def test_held_out_errors_stand_beside_one_another(several):
    found = several[0].laws.left_out
    row = _row(laws.held_out("held_out", found), "Transformer")
    line = next(
        one.error
        for one in found
        if (one.architecture, one.law, one.x)
        == ("transformer", left_out.LINE, "training_flops")
    )
    assert row[1] == "milli" and float(row[4].replace("−", "-")) == pytest.approx(
        line, abs=5e-4
    )


def test_what_is_not_determined_is_not_shown(several):
    found = several[0].laws.equation_one
    undetermined = [one for one in found if one.fit and not one.fit.determined]
    for one, row in zip(found, laws.equation("e", found).body):
        if one in undetermined:
            assert [cell.shown for cell in row[4:7]] == ["–"] * 3


def test_tasks_say_their_noise_before_any_law(several):
    fitted = several[0].laws
    grid = tasks.make("tasks", fitted.tasks, fitted.left_out)
    (row,) = (r for r in grid.body if r[1].shown == "GLU" and r[0].shown == "RTE")
    (task,) = (t for t in fitted.tasks if (t.architecture, t.task) == ("glu", "rte"))
    assert row[3].shown == f"{task.signal.ratio:.1f}"
    assert f"of {task.signal.threshold:.1f}" in row[3].error
    assert ("within noise" in row[3].error) == (not task.signal.clear)


def test_chances_stand_beside_the_frontier(several):
    models = several[1]["models"]
    grid = frontiers.make(models)
    for model in models:
        if model["front_parameters"]:
            assert 0 < model["chance_parameters"] <= 1
    best = min(models, key=lambda model: model["loss"])
    (row,) = (
        r
        for r in grid.body
        if (r[0].shown, r[1].shown) == (best["label"], best["size"])
    )
    assert row[3].shown.startswith("● ") and row[3].shown.endswith(" %")
    # Without an error there is no probability, and the frontier is as measured.
    blank = [{**m, **{k: None for k in m if k.startswith("chance_")}} for m in models]
    assert frontiers.make(blank).body[0][3].shown in ("●", "")
