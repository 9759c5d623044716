"""Tests the ends of straight lines."""

import math

import pytest


def test_a_line_has_the_slope_of_its_fit(several):
    sources, tables = several
    slopes = {
        f.architecture: f.slope for f in sources.fits if f.cost.key == "training_flops"
    }
    for name, slope in slopes.items():
        low, high = (row for row in tables["lines"] if row["arch"] == name)
        decades = math.log10(high["flops"] / low["flops"])
        assert (low["loss"] - high["loss"]) / decades == pytest.approx(slope)
