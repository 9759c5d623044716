"""Tests what the commands that read results share."""

import pytest

from clinometer.kernels.options.errors import OptionError
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.report import records
from clinometer.tools.results import command
from clinometer.tools.results import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ResultsError("x.csv: line 2"), 2),
        (OptionError("--score: none"), 2),
        (records.RecordError("no runs"), 1),
        (fit_errors.FitError("two points"), 1),
        (FileNotFoundError("x.csv"), 1),
    ],
)
def test_errors_of_input_are_one_line(capsys, error, code):
    def fail():
        raise error

    assert command.run("laws", fail) == code
    assert capsys.readouterr() == ("", f"clinometer laws: {error}\n")


def test_other_errors_are_not_hidden():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command.run("laws", fail)


def test_without_an_error_it_is_done(capsys):
    assert command.run("laws", lambda: print("fitted")) == 0
    assert capsys.readouterr().out == "fitted\n"
