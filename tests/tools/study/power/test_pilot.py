"""Tests the estimates from a pilot against least squares, and unusable pilots."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.study.power import example_pilot
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.inference import errors as inference_errors
from clinometer.tools.report import records
from clinometer.tools.study import protocol as protocol_lib
from clinometer.tools.study.power import pilot
from clinometer.train import errors

_PROTOCOL = protocol_lib.Protocol(train_steps=600, batch_size=16)


def _read(folder, **changes):
    protocol = dataclasses.replace(_PROTOCOL, **changes)
    return pilot.read(str(folder), "transformer", protocol)


def test_estimates_are_those_of_least_squares(tmp_path):
    found = _read(example_pilot.write(tmp_path))
    keys, losses = zip(*example_pilot.LOSSES.items())
    # Means of both sizes, and half the difference between the orders.
    model = np.array([[s == "pico", s == "milli", (-1) ** k / 2] for s, k, _ in keys])
    fitted, (squares,), *_ = np.linalg.lstsq(model.astype(float), np.array(losses))
    np.testing.assert_allclose(found.losses, fitted[:2])
    np.testing.assert_allclose(found.gain, fitted[0] - fitted[1])
    assert (found.runs, found.degrees, found.left_out) == (8, 5, ())
    np.testing.assert_allclose(found.sd, np.sqrt(squares / 5))
    expected = np.sqrt(squares / stats.chi2.ppf([0.975, 0.025], 5))
    np.testing.assert_allclose(found.sd_interval, expected)
    # Two orders: their variance is half the squared difference, less its own error.
    between = fitted[2] ** 2 / 2 - (squares / 5) * (2 / 4) / 2
    np.testing.assert_allclose(found.order_sd, np.sqrt(between), rtol=1e-5)
    assert list(found.sd_by_width) == [32, 128]
    assert found.flops[0] < found.flops[1]


def test_other_runs_do_not_enter(tmp_path):
    expected = _read(example_pilot.write(tmp_path / "pilot"))
    for role, order in (("final", 3), ("sweep", 4)):
        losses = {("pico", order, 0): 9.0}
        example_pilot.write(tmp_path / "pilot", losses, role)
    example_pilot.write(tmp_path / "pilot", {("pico", 5, 0): 9.0}, status="running")
    found = _read(tmp_path / "pilot")
    assert found.left_out == ("transformer-pico-o5-s500",)
    assert (found.sd, found.runs) == (expected.sd, 8)


def test_the_finals_of_a_study_tell_the_power_that_it_reached(tmp_path):
    pilot = _read(example_pilot.write(tmp_path / "pilot"))
    study = _read(example_pilot.write(tmp_path / "study", role="final"))
    assert (pilot.name, study.name) == ("pilot", "study")
    assert dataclasses.replace(study, name="pilot", flops=None, losses=None) == (
        dataclasses.replace(pilot, flops=None, losses=None)
    )


def test_unusable_pilots_are_refused(tmp_path):
    with pytest.raises(records.RecordError, match="nowhere: no such folder"):
        _read(tmp_path / "nowhere")
    sweep = example_pilot.write(tmp_path / "sweep", role="sweep")
    with pytest.raises(errors.ConfigError, match="holds no finished pilot run"):
        _read(sweep)
    study = example_pilot.write(tmp_path / "pilot")
    with pytest.raises(errors.ConfigError, match="train_steps = 600; this study has 9"):
        _read(study, train_steps=9)
    single = {key: x for key, x in example_pilot.LOSSES.items() if key[1:] == (1, 0)}
    with pytest.raises(inference_errors.InferenceError, match="no replicates"):
        _read(example_pilot.write(tmp_path / "single", single))
    small = {key: x for key, x in example_pilot.LOSSES.items() if key[0] == "pico"}
    with pytest.raises(inference_errors.InferenceError, match="gain of a pilot needs"):
        _read(example_pilot.write(tmp_path / "small", small))
    example_pilot.write(study, {("pico", 6, 0): 4.4}, data__corpus_hash="other")
    with pytest.raises(fit_errors.FitError, match="differ in corpus"):
        _read(study)
