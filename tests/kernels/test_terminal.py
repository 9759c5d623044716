"""Tests of status lines and tables, with and without a terminal."""

import io

import pytest

from clinometer.kernels import terminal


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def kind(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")


def test_plain_lines_come_now_and_then():
    out = io.StringIO()
    with terminal.Line(seconds=60, stream=out) as line:
        line.say("too early")
        line.draw("one", "two")
        line.note("[b]as it is[/b]")
    line.close()
    assert out.getvalue() == "one; two\n[b]as it is[/b]\n"
    terminal.Line(seconds=-1, stream=out).say("old enough")
    assert out.getvalue().endswith("\nold enough\n")


def test_a_terminal_shows_one_line_over_the_other():
    out = _Terminal()
    line = terminal.Line(seconds=60, stream=out)
    line.say("first")
    line.say("second" + 200 * "x")
    assert "first\r\x1b[2Ksecondxxx" in out.getvalue()
    assert out.getvalue().count("\n") == 0  # Cut, not wrapped.
    line.note("stays")
    assert "\r\x1b[2Kstays\nsecond" in out.getvalue()
    line.close()
    assert out.getvalue().endswith("\n\x1b[?25h")  # The cursor is there.


def test_a_dumb_terminal_has_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    out = _Terminal()
    terminal.Line(seconds=60, stream=out).draw("a")
    assert out.getvalue() == "a\n"


def test_a_table_is_as_wide_as_its_cells():
    rows = [("a", "1,000", "[b]x[/b] "), ("b" * 200, "2", "")]
    lines = terminal.table(rows, ("name", "n", "text"), left=(0, 2), widths=(3, 7))
    assert lines == [
        f"{'name':<200}        n  text",
        f"{'a':<200}    1,000  [b]x[/b]",
        f"{'b' * 200}        2",
    ]
    assert terminal.table([("k", "v")]) == ["k  v"]


def test_a_heading_is_bold_on_a_terminal_only():
    plain = terminal.table([("a", "b")], ("one", "two"), stream=io.StringIO())
    assert plain[0] == "one  two"
    drawn = terminal.table([("a", "b")], ("one", "two"), stream=_Terminal())
    assert drawn[0].startswith("\x1b[1mone") and drawn[1:] == ["a      b"]
