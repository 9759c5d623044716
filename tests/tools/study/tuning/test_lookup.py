"""Tests which rate a model gets, and what is said where there is none."""

import math

import pytest

from clinometer.tests.tools.study.tuning import example_table
from clinometer.tools.study.tuning import lookup
from clinometer.train import errors


def _shape(width=16, architecture="transformer", layers=(2, 2)):
    name = f"{architecture}-DM{width}-PI"
    return lookup.Shape(name, architecture, layers, width)


def _find(shape, settings=example_table.SETTINGS, *, made=None, **kwargs):
    kwargs = {"corpus_hash": "c0ffee", **kwargs}
    return lookup.find(made or example_table.made(), shape, settings, **kwargs)


def test_swept_and_interpolated_widths():
    found = _find(_shape(128))
    assert (found.rate, found.how, found.remarks) == (0.018, "swept", ())
    found = _find(_shape(48))
    # ln(rate) falls by ln 2 over three doublings of the width.
    expected = 0.036 * 2 ** (-math.log2(48 / 16) / 3)
    assert (found.rate, found.how) == (
        pytest.approx(expected, rel=1e-4),
        "interpolated",
    )
    assert found.remarks == ()


def test_extrapolation_only_where_asked_and_said():
    with pytest.raises(
        lookup.MissingRateError, match="widths 16, 128, and this is 256"
    ):
        _find(_shape(256))
    found = _find(_shape(256), extrapolate=True)
    assert found.rate == pytest.approx(0.018 * 2 ** (-1 / 3), rel=1e-4)
    assert "extrapolated" in found.remarks[0]


def test_another_store_is_used_and_said():
    found = _find(_shape(), corpus_hash="another")
    assert found.rate == 0.036 and found.other_store
    assert found.remarks == (
        "transformer: the rates were tuned on another token store",
    )
    assert not _find(_shape(), corpus_hash=None).other_store


def test_the_same_store_comes_first():
    elsewhere = example_table.entry(
        corpus_hash="another", sizes=(example_table.size(16, 0.05),)
    )
    made = example_table.made(elsewhere, example_table.entry())
    assert _find(_shape(), made=made).rate == 0.036
    assert _find(_shape(), made=made, corpus_hash="another").rate == 0.05


def test_an_optimum_at_an_edge_is_said():
    sizes = (example_table.size(16, 0.5, interior=False), example_table.size(128, 0.1))
    made = example_table.made(example_table.entry(sizes=sizes))
    assert "not tuned" in _find(_shape(32), made=made).remarks[0]


@pytest.mark.parametrize(
    ("shape", "settings", "words"),
    [
        (_shape(architecture="switch"), {}, "it has no switch"),
        (_shape(layers=(4, 4)), {}, "it has 2+2 layers, and this has 4+4"),
        (_shape(), {"train_steps": 60}, "train_steps = 3000, and this is 60"),
        (_shape(), {"data.batch_size": 8}, "data.batch_size = 4, and this is 8"),
        (_shape(8), {}, "widths 16, 128, and this is 8"),
    ],
)
def test_a_missing_rate_says_what_differs_and_what_to_do(shape, settings, words):
    with pytest.raises(errors.ConfigError) as caught:
        _find(shape, {**example_table.SETTINGS, **settings})
    said = str(caught.value)
    assert said.startswith(shape.model) and words in said
    assert "--tune" in said and "--learning-rate X" in said and "\n" not in said


def test_an_empty_table_has_nothing():
    with pytest.raises(lookup.MissingRateError, match="it has no transformer"):
        _find(_shape(), made=example_table.table.Table())
