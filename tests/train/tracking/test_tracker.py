"""Tests which scalars of a record trackers get."""

from clinometer.train.tracking import tracker


def test_numbers_of_lists_are_named_by_their_places():
    record = {
        "train/loss": 2,
        "train/loss_spike": True,
        "wall/steps_per_second": None,
        "health/encoder/load": [[0.25, 0.75], [1.0, None]],
        "not_finite": {"x": "nan"},
    }
    assert tracker.flat(record) == {
        "train/loss": 2.0,
        "train/loss_spike": 1.0,
        "health/encoder/load/0/0": 0.25,
        "health/encoder/load/0/1": 0.75,
        "health/encoder/load/1/0": 1.0,
    }
