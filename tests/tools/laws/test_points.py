"""Tests which runs are replicates, and the errors of their means."""

import math
import statistics

import pytest

from clinometer.tests.tools.laws import ladders
from clinometer.tools.laws import points

_LOSS = points.LOSS


def _rows(*losses, **more):
    return [
        {"run": f"{model}{i}", "model": model, "seed": i, _LOSS: loss, **more}
        for i, (model, loss) in enumerate(losses)
    ]


def test_errors_are_pooled_over_models():
    rows = _rows(("glu-a", 2.0), ("glu-a", 2.2), ("glu-b", 1.0), ("glu-b", 1.4))
    rows += _rows(("glu-c", 3.0))
    found = points.of_frame(ladders.frame(rows), (_LOSS, "no_such_column"))
    spread = math.sqrt(
        (statistics.variance((2, 2.2)) + statistics.variance((1, 1.4))) / 2
    )
    a, b, c = found.points
    assert (a.mean(_LOSS), a.values[_LOSS].runs) == (pytest.approx(2.1), 2)
    assert a.error(_LOSS) == b.error(_LOSS) == pytest.approx(spread / math.sqrt(2))
    assert c.error(_LOSS) == pytest.approx(spread)
    assert found.degrees[_LOSS] == 2
    assert a.mean("no_such_column") is None and a.error("no_such_column") is None


def test_errors_may_be_given():
    rows = _rows(("glu-a", 2.0), ("glu-b", 1.0), validation_loss_standard_error=0.01)
    found = points.of_frame(ladders.frame(rows), (_LOSS,))
    assert [p.error(_LOSS) for p in found.points] == [0.01, 0.01]
    assert found.degrees[_LOSS] == math.inf
    rows = _rows(("glu-a", 2.0), ("glu-b", 1.0))
    found = points.of_frame(ladders.frame(rows), (_LOSS,))
    assert found.points[0].error(_LOSS) is None


def test_lengths_and_sources_stand_apart():
    rows = [
        {"run": "a", "model": "glu-a", "tokens_seen": 1e9, _LOSS: 2},
        {"run": "b", "model": "glu-a", "tokens_seen": 2e9, _LOSS: 1},
        {"run": "c", "model": "glu-a", "tokens_seen": 2e9, _LOSS: 1.5, "source": "x"},
    ]
    found = points.of_frame(ladders.frame(rows), (_LOSS,))
    assert [point.runs for point in found.points] == [("a",), ("b",), ("c",)]
    assert found.architectures == ("glu",)
    assert [point.mean(_LOSS) for point in found.of("glu", _LOSS)] == [1, 1.5, 2]
