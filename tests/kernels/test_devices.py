"""Tests the error if JAX has no device, for each reason."""

import types

import pytest

from clinometer.kernels import devices
from clinometer.kernels.options.errors import OptionError


def _without(monkeypatch, platforms, error):
    """Replaces jax by a stub whose `devices` raises this error."""

    def fail():
        raise error

    config = types.SimpleNamespace(jax_platforms=platforms)
    jax = types.SimpleNamespace(devices=fail, config=config)
    monkeypatch.setattr(devices, "jax", jax)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AssertionError(), "here; unset it"),
        (RuntimeError("the TPU is in use\nby process 7"), "(the TPU is in use); unset"),
    ],
)
def test_what_was_asked_for_is_named_with_jaxs_reason(monkeypatch, error, reason):
    _without(monkeypatch, "tpu", error)
    with pytest.raises(OptionError, match="JAX_PLATFORMS=tpu: ") as caught:
        devices.check()
    assert reason in str(caught.value)
    assert "process 7" not in str(caught.value)


def test_what_nobody_asked_for_keeps_its_traceback(monkeypatch):
    _without(monkeypatch, None, RuntimeError("no backend at all"))
    with pytest.raises(RuntimeError, match="no backend at all"):
        devices.check()
