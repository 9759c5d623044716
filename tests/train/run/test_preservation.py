"""Tests of which checkpoints are kept for their metrics."""

import dataclasses
import math

import pytest

from clinometer.train.run import preservation


@dataclasses.dataclass
class Info:
    """The part of Orbax's checkpoint information that the policy uses."""

    metrics: dict[str, float] | None


@pytest.mark.parametrize(
    ("mode", "count", "values", "kept"),
    [
        ("max", 1, [1.0, 3.0, 2.0], [1]),
        ("min", 1, [1.0, 3.0, 2.0], [0]),
        ("max", 2, [1.0, 3.0, 2.0], [1, 2]),
        ("max", 1, [3.0, 1.0, 3.0, 3.0], [0]),
        ("min", 2, [3.0, 1.0, 1.0, 1.0], [1, 2]),
        ("max", 1, [None, math.nan, 0.0], [2]),
        ("max", 9, [None, math.nan, 0.0], [2]),
        ("max", 0, [1.0, 2.0], []),
        ("min", 1, [None, {}], []),
        ("max", 1, [-math.inf, math.nan], [0]),
    ],
)
def test_the_best_are_kept_the_earliest_of_equals(mode, count, values, kept):
    infos = [
        Info({"score": value} if isinstance(value, float) else value)
        for value in values
    ]
    policy = preservation.Best("score", mode, count)
    found = policy.should_preserve(infos, context=None)
    assert [place for place, keep in enumerate(found) if keep] == kept
