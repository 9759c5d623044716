"""Tests the table of held-out errors against SciPy's fits without the largest size."""

import numpy as np
import pytest
from scipy import stats

from clinometer.tools.laws import left_out


def _points(models):
    own = [m for m in models if m["arch"] == "transformer"]
    return (
        np.array([m["training_flops"] for m in own]),
        np.array([m["loss"] for m in own]),
    )


def test_lines_are_asked_for_the_size_that_they_have_not_seen(several):
    _, tables = several
    flops, losses = _points(tables["models"])
    rows = {
        row["law"]: row for row in tables["held_out"] if row["arch"] == "transformer"
    }
    line = stats.linregress(np.log10(flops[:-1]), losses[:-1])
    predicted = line.intercept + line.slope * np.log10(flops[-1])
    row = rows[left_out.LINE]
    assert row["predicted"] == pytest.approx(predicted)
    assert row["error"] == pytest.approx(predicted - losses[-1])
    assert row["beyond"] == pytest.approx(flops[-1] / flops[-2])
    assert row["size"] == "milli" and row["lo"] is None
    # Mutation: a line that has seen the largest size says something else.
    seen = stats.linregress(np.log10(flops), losses)
    assert abs(seen.intercept + seen.slope * np.log10(flops[-1]) - predicted) > 1e-6


def test_every_architecture_is_asked(several):
    _, tables = several
    archs = [r["arch"] for r in tables["held_out"] if r["law"] == left_out.LINE]
    assert archs == ["transformer", "glu", "mixer"]  # The order of the looks.
