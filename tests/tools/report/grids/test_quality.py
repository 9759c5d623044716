"""Tests the tables of measurement quality."""

import pytest

from clinometer.tools.report.grids import frontiers
from clinometer.tools.report.grids import quality


def test_what_was_left_out_and_of_which_fits(several):
    sources, _ = several
    ((run, why, where),) = quality.left_out(sources.fits, sources.rows).body
    assert run.shown == "mixer-failed" and where.shown == "every fit"
    assert why.shown == "failed at step 600 of 600"


def test_shares_of_wall_time_sum_to_one(several):
    table = quality.wall_time(several[0].rows)
    assert [row[0].shown for row in table.body] == ["pico", "nano", "micro", "milli"]
    for row in table.body:
        assert sum(cell.value for cell in row[2:]) == pytest.approx(100)
    # 8.6 s of compilation in every run, of the seconds that the record lists.
    (row,) = (r for r in several[0].rows if r["run"] == "glu-milli-o1-s1")
    parts = ("step", "compile", "calibration", "input_wait", "evaluation", "checkpoint")
    total = sum(row[f"wall_{part}_seconds"] for part in (*parts, "other"))
    share = next(cell for cell in table.body[-1][3:4])
    assert share.value == pytest.approx(100 * 8.6 / total)


def test_the_frontier_of_each_cost(several):
    models = several[1]["models"]
    table = frontiers.make(models)
    keys = {m["key"] for m in models if any(v for k, v in m.items() if "front_" in k)}
    assert len(table.body) == len(keys)
    losses = [row[2].value for row in table.body]
    assert losses == sorted(losses)
