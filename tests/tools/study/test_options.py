"""Tests the command line of `clinometer study`: lists, defaults and errors."""

import pathlib

import pytest

from clinometer import models
from clinometer.tools.study import options


def test_defaults_are_the_first_study():
    parsed = options.parse([])
    assert parsed.archs == ["transformer"]
    assert parsed.sizes == ["pico", "nano", "micro", "milli"]
    assert (parsed.seeds, parsed.replicate) == ([0], [1])
    assert (parsed.jobs, parsed.steps, parsed.learning_rate) == (2, 3000, 0.006)
    assert parsed.out == pathlib.Path("runs/study").absolute()
    assert parsed.keep_going and not parsed.dry_run and parsed.store is None


def test_lists_take_blanks_and_commas():
    parsed = options.parse(["--sizes", "pico, NL4-NA\tmicro", "--seeds", "0,2 4"])
    assert parsed.sizes == ["pico", "NL4-NA", "micro"]
    assert parsed.seeds == [0, 2, 4]
    assert options.parse(["--replicate", ""]).replicate == []
    assert options.parse(["--archs", "all"]).archs == list(models.ARCHITECTURES)


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--jobs", "0"], "must be at least 1"),
        (["--steps", "many"], "accepted: a whole number"),
        (["--seeds", "a"], "accepted: a whole number"),
        (["--seeds", "0 4294967296"], "must be at most 4294967295"),
        (["--replicate", "-1"], "must not be negative"),
        (["--learning-rate", "nan"], "must be a finite number"),
        (["--learning-rate", "0"], "must be positive"),
        (["--downstream-steps", "1e999"], "accepted: a whole number"),
        (["--out", "/dev/null/x"], "--out: /dev/null is a file, not a folder"),
        (["--out", "x" * 300], "has 300 bytes"),
        (["--out", ""], "accepted: a path"),
        (["--stepz", "3"], "unrecognized"),
    ],
)
def test_bad_options_exit_with_2(argv, words, capsys):
    with pytest.raises(SystemExit) as caught:
        options.parse(argv)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err
