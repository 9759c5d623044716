"""Tests that decoding options out of range are rejected by name."""

import dataclasses
import math

import pytest

from clinometer.train import errors
from clinometer.train.downstream import options as downstream_options

VOCAB_SIZE = 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("decoding", "beams"),
        ("beam_size", 0),
        ("beam_size", -1),
        ("beam_size", VOCAB_SIZE + 1),
        ("beam_size", 1 << 64),
        ("length_penalty", math.nan),
        ("length_penalty", math.inf),
        ("length_penalty", -0.1),
        ("length_penalty", 1e30),
        ("temperature", 0.0),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", 1e-40),
        ("top_k", -1),
        ("top_k", VOCAB_SIZE + 1),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("top_p", math.nan),
        ("seed", -1),
        ("seed", 1 << 32),
        ("batch_size", 0),
        ("batch_size", 1 << 64),
        ("max_examples", 0),
    ],
)
def test_options_out_of_range_are_named(field, value):
    options = downstream_options.PredictionOptions(**{field: value})
    with pytest.raises(errors.RunError, match=rf"config\.eval\.{field}: "):
        options.check("config.eval.", VOCAB_SIZE)
    with pytest.raises(errors.RunError, match=f"^--{field.replace('_', '-')}: "):
        options.check("--", VOCAB_SIZE)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"beam_size": 1, "top_k": VOCAB_SIZE, "top_p": 1e-6, "temperature": 1e-6},
        {"beam_size": VOCAB_SIZE, "length_penalty": 0.0, "seed": (1 << 32) - 1},
        {"max_examples": 1, "batch_size": 1, "length_penalty": 5.0},
    ],
)
def test_options_in_range_pass(values):
    options = dataclasses.replace(downstream_options.PredictionOptions(), **values)
    options.check("--", VOCAB_SIZE)
