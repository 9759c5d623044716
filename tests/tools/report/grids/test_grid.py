"""Tests tables as values."""

from clinometer.tools.report.grids import grid


def test_headings_units_and_alignment():
    made = grid.make("a", "b", ("x", ("y", "nats")), [[grid.text("q"), grid.Cell("1")]])
    assert [(h.title, h.unit, h.is_text) for h in made.heads] == [
        ("x", "", True),
        ("y", "nats", False),
    ]
    assert made.archs == ("",)
    assert grid.Cell("0.123", 0.12345678).key == "0.123457"
    assert grid.Cell("x", "x").key == "x" and grid.key(None) == ""
