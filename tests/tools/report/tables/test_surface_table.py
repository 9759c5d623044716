"""Tests the points and curves of the law of size and data against a known law."""

import types

import pytest

from clinometer.tests.tools.laws import ladders
from clinometer.tools.laws import surfaces
from clinometer.tools.report.tables import surface_table

_SIZES = ladders.SIZES[:4]


def _loss(n, d):
    return 1.7 + 400 * n**-0.34 + 400 * d**-0.28


@pytest.fixture(scope="module")
def sources():
    rows = []
    for steps in (100, 200, 400, 800):
        for row in ladders.ladder(sizes=_SIZES):
            n, tokens = row["params_total"], 1e5 * steps
            row |= {"run": f"{row['run']}-{steps}", "train_steps": steps}
            row |= {"tokens_seen": tokens, "training_flops": 4.5 * n * tokens}
            row["validation_loss_nats"] = _loss(n, tokens)
            rows.append(row)
    frame = ladders.frame(rows)
    laws = types.SimpleNamespace(surfaces=surfaces.fit_all(frame))
    return types.SimpleNamespace(laws=laws, rows=frame.to_dict("records"))


def test_curves_are_those_of_the_law_and_end_beyond_the_data(sources):
    points, curves = surface_table.make(sources)
    assert len(points) == 16 and {row["key"] for row in points} >= {"transformer-s0"}
    for i, n in enumerate(_SIZES):
        own = [row for row in curves if row["size"] == f"s{i}"]
        for row in own:
            # The fit of noise-free losses is exact up to its own tolerance.
            expected = _loss(round(n), row["tokens"])
            assert row["loss"] == pytest.approx(expected, rel=1e-4)
            assert row["beyond"] == (row["tokens"] > 8e7 * 1.0001) or (
                row["tokens"] == pytest.approx(8e7)
            )
        assert max(row["tokens"] for row in own) == pytest.approx(3 * 8e7)
        assert [row["name"] for row in own if row["name"]] == [f"s{i}"]


def test_without_laws_there_is_nothing():
    assert surface_table.make(types.SimpleNamespace(laws=None)) == ([], [])
