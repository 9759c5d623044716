"""Tests parsing of numbers: what is accepted, and the errors for the rest."""

import argparse
import fractions
import math
import random

import pytest

from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ("1_000", 1000), ("1e3", 1000), ("1.5e3", 1500), ("2E0", 2), ("0", 0)],
)
def test_whole_numbers(text, value):
    found = ranges.Whole()(text)
    assert found == value and type(found) is int


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-1", "must not be negative, got -1"),
        ("1.5", "got '1.5', accepted: a whole number"),
        ("x", "got 'x', accepted: a whole number"),
        ("true", "got 'true', accepted"),
        ("", "got '', accepted"),
        ("nan", "got 'nan', accepted"),
        ("1e999", "got '1e999', accepted"),
        ("18446744073709551616", "must be at most 2147483647"),
        ("9" * 10_000, r"\(10002 characters\), accepted"),
        ("(" * 10_000, "accepted"),
        ("1e999999999999", "accepted"),
        ("[1]", "accepted"),
        ("sNaN", "accepted"),
    ],
)
def test_others_are_refused_in_a_line(text, message):
    with pytest.raises(OptionError, match=message) as caught:
        ranges.Whole()(text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "Infinity"])
def test_a_real_is_finite(text):
    with pytest.raises(OptionError, match="must be a finite number"):
        ranges.Real()(text)


def test_the_ends_of_a_range():
    share = ranges.Real(0, 1, without_least=True, without_most=True)
    assert share("0.5") == 0.5 and share("1e-9") == 1e-9
    with pytest.raises(OptionError, match="must be positive, got 0"):
        share("0")
    with pytest.raises(OptionError, match="must be below 1, got 1"):
        share("1.0")
    assert str(share) == "a number in (0, 1)"
    assert ranges.Real(0, 1)("1") == 1.0
    with pytest.raises(OptionError, match=r"at most 1e\+30"):
        ranges.Real()("1e31")


def test_seeds_are_those_that_differ():
    assert ranges.SEED("4294967295") == 2**32 - 1
    for text in ("4294967296", "-1", "18446744073709551616"):
        with pytest.raises(OptionError):
            ranges.SEED(text)
    assert ranges.listed(ranges.SEED)("0, 1 2") == [0, 1, 2]


def test_argparse_shows_the_message(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=ranges.Whole(1))
    with pytest.raises(SystemExit):
        parser.parse_args(["--steps", "0"])
    assert "argument --steps: must be at least 1, got 0" in capsys.readouterr().err


def test_literals_equal_exact_arithmetic():
    rng = random.Random(0)
    for _ in range(2000):
        digits = str(rng.randrange(10 ** rng.randint(1, 20)))
        text = f"{rng.choice(['', '-'])}{digits}e{rng.randint(-25, 18)}"
        exact = fractions.Fraction(text)
        found = ranges.literal(text)
        assert type(found) is (int if exact.denominator == 1 else float), text
        assert found == (exact if type(found) is int else float(exact)), text
    assert math.isinf(ranges.literal("1e400"))
    assert ranges.literal("(1, 2)") == (1, 2)
    assert ranges.literal("bfloat16") == "bfloat16"
    assert ranges.literal("FALSE") is False
