"""Tests of number formats."""

import pytest

from clinometer.tools.report import formats


@pytest.mark.parametrize(
    "value, shown",
    [
        (1_234_567, "1.23M"),
        (999_999, "1.00M"),
        (999, "999"),
        (60_506_624, "60.5M"),
        (3.69e12, "3.69T"),
        (0.01234, "0.0123"),
        (0, "0"),
        (None, "–"),
    ],
)
def test_si(value, shown):
    assert formats.si(value) == shown


@pytest.mark.parametrize(
    "seconds, shown",
    [
        (8.44, "8.4 s"),
        (59.96, "1 min 00 s"),
        (65, "1 min 05 s"),
        (7380, "2 h 03 min"),
        (None, "–"),
    ],
)
def test_duration(seconds, shown):
    assert formats.duration(seconds) == shown


def test_signed_and_significant():
    assert formats.signed(-0.0854, 4) == "−0.0854"
    assert formats.signed(0.3408) == "+0.341"
    assert formats.significant(9.999) == "10.0"
    assert formats.significant(float("inf")) == "inf"


def test_intervals_and_p_values():
    assert formats.interval(0.12, 0.164) == "+0.120 to +0.164"
    assert formats.interval(-0.12345, 0.1, 4) == "−0.1235 to +0.1000"
    assert formats.interval(None, None) == "–"
    assert [formats.p_value(p) for p in (0.00099, 0.001, 0.25, None)] == [
        "<0.001",
        "0.001",
        "0.250",
        "–",
    ]
