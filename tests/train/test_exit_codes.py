"""Tests of the exit codes, their numbers and their `--help` text."""

import pytest

from clinometer.data.errors import DataError
from clinometer.kernels.bench import main as bench
from clinometer.kernels.options.errors import OptionError
from clinometer.train import errors
from clinometer.train import exit_codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OptionError("--workdir: a is a file, not a folder"), 2),
        (errors.RunError("no checkpoint"), 1),
        (errors.RunHeldError("held"), 43),
        (DataError("no text"), 1),
    ],
)
def test_an_error_has_its_code(error, code):
    assert exit_codes.of_error(error) == code


def test_the_kernels_have_the_same_numbers():
    ours = (exit_codes.DONE, exit_codes.FAILED, exit_codes.USAGE)
    assert ours == (bench._DONE, bench._FAILED, bench._USAGE) == (0, 1, 2)


def test_help_lists_codes_in_order():
    text = exit_codes.described({exit_codes.STOPPED: "stopped", exit_codes.DONE: "ran"})
    told = "exit codes: 0 ran; 1 failed or could not start; 2 bad options; 42 stopped"
    assert " ".join(text.split()) == told
