"""Tests of the differences between calls, with clocks set by hand."""

from clinometer.train.host import intervals


def test_intervals_follow_each_other():
    wall = iter([1.0, 4.0, 9.0, 10.0])
    processor = iter([0.0, 2.0, 3.0, 3.5])
    counter = iter([5.0, None, 6.0, 8.0])
    measured = intervals.Intervals(
        *(one.__next__ for one in (counter, wall, processor))
    )
    assert measured.next() == (3.0, 2.0, None)
    assert measured.next() == (5.0, 1.0, None)
    assert measured.next() == (1.0, 0.5, 2.0)
