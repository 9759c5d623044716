"""Tests what laws say of the largest size when they have not seen it."""

import numpy as np
import pytest

from clinometer.tests.tools.inference import studies
from clinometer.tests.tools.laws import ladders
from clinometer.tools.fit import errors
from clinometer.tools.laws import left_out


def _made(rows, law, x=None):
    found = left_out.of_frame(ladders.frame(rows))
    (one,) = (o for o in found if o.law == law and x in (None, o.x))
    return one


def test_exact_ladders_are_predicted_but_not_by_a_line():
    rows = ladders.ladder()
    for x in ("params_total", "training_flops", "papers_macs_forward_batch"):
        power = _made(rows, left_out.POWER, x)
        assert power.observed == pytest.approx(1.7 + 400 * 1e9**-0.34)
        assert power.error == pytest.approx(0, abs=1e-3)
        assert (power.points, power.model) == (7, "transformer-s7")
        assert power.distance == pytest.approx(2 / 7)
        line = _made(rows, left_out.LINE, x)
        assert line.error < -0.02


def test_size_and_data():
    rows = []
    for ratio in (5, 20, 80):
        for row in ladders.ladder(sizes=ladders.SIZES[:5]):
            n = row["params_total"]
            row["run"] += f"-{ratio}"
            row["tokens_seen"] = ratio * n
            row["validation_loss_nats"] += 400 * (ratio * n) ** -0.28
            rows.append(row)
    surface = _made(rows, left_out.SURFACE)
    assert surface.points == 12 and surface.model == "transformer-s4"
    assert surface.error == pytest.approx(0, abs=1e-3)


def test_too_few_sizes_have_a_reason():
    power = _made(
        ladders.ladder(sizes=ladders.SIZES[:4]), left_out.POWER, "params_total"
    )
    assert power.predicted is None and "4 or more" in power.reason
    assert left_out.of_frame(ladders.frame(ladders.ladder(sizes=[1e8]))) == []


def test_a_study_in_orders_has_an_interval_and_a_verdict():
    design = studies.ladder(5, 3)
    rng = np.random.default_rng(0)
    offset = rng.normal(0, 0.004, len(design.orders))
    rows = []
    for i, (cell, order) in enumerate(zip(design.cell_of_run, design.order_of_run)):
        cell = design.cells[cell]
        loss = 4 + 0.4 * (cell.flops / 1e12) ** -0.35 + offset[order]
        rows.append(
            {
                "run": f"r{i}",
                "model": f"a-{cell.name}",
                "seed": i,
                "data_order": order,
                "d_model": cell.width,
                "training_flops": cell.flops,
                "validation_loss_nats": loss + 0.002 * rng.standard_normal(),
            }
        )
    one = _made(rows, left_out.POWER, "training_flops")
    assert one.low < one.predicted < one.high
    assert one.low < one.observed < one.high
    assert one.verdict in ("supported", "uninformative")
    rows = [{**row} for row in rows]
    for row in rows:
        if row["d_model"] == 256:
            row["validation_loss_nats"] += 1.0
    assert _made(rows, left_out.POWER, "training_flops").verdict == "contradicted"


def test_mixed_conditions_are_refused():
    frame = ladders.frame(ladders.ladder())
    frame.loc[0, "corpus_hash"] = "other"
    with pytest.raises(errors.FitError, match="corpus_hash"):
        left_out.of_frame(frame)
