"""Tests the published rows and the error of a prediction."""

import math

import pytest

from clinometer import models
from clinometer.tools.plan import run_plan
from clinometer.tools.plan.validation import published

# As printed in Table 4 of Tay et al. 2021: model, millions of parameters, steps/s.
TABLE_4 = {
    "Small": (61, 23),
    "Mini-8L": (50, 24),
    "Base": (223, 9),
    "Small 16L": (134, 13),
    "Small 20L": (164, 11),
    "Small 22L": (179, 10),
    "Small 24L": (193, 9),
    "Small 32EL": (143, 10),
    "Large": (738, 4),
    "Base 36L": (621, 3),
    "XL": (2900, 1),
    "Large 36L": (1100, 2),
    "XXL": (11300, 1),
    "XL 32L": (3800, 3),
}


def test_the_rows_are_those_of_the_table():
    rows = [*published.fitted(), *published.new()]
    assert [row.label for row in rows] == list(TABLE_4)
    for row in rows:
        millions, speed = TABLE_4[row.label]
        params = models.counts.count(row.model, trace=False).params_total / 1e6
        assert params == pytest.approx(millions, rel=0.02)
        assert row.steps_per_second == speed


def test_the_vision_transformers_are_those_of_table_5():
    speeds = {"ViT-S": 8.83, "ViT-B": 6.74, "ViT-S L=24": 6.11, "ViT-S L=28": 5.36}
    # Exact parameters of S with 8 layers, which is what its printed FLOPs need.
    params = dict(
        zip(speeds, (36_202_867, 101_521_011, 86_641_011, 99_250_547), strict=True)
    )
    rows = published.images()
    assert {row.label: row.steps_per_second for row in rows} == speeds
    for row in rows:
        request = row.request
        assert (request.topology, request.batch_size) == ("v3:8x8", 4096)
        counts = run_plan.counts_of(request)
        assert counts.params_total == params[row.label]
        speed = row.steps_per_second
        assert row.error(1 / (speed + 0.0049)) == 0 < row.error(1 / (speed + 0.006))


def test_nothing_inside_of_the_rounding_is_an_error():
    row = published.fitted()[-1]
    assert row.steps_per_second == 2
    for speed in (1.5001, 2, 2.4999):
        assert row.error(1 / speed) == 0
    assert row.error(1 / 1.4) == pytest.approx(math.log(1.5 / 1.4))
    assert row.error(1 / 3) == pytest.approx(math.log(3 / 2.5))
