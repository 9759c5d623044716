"""Tests the measured matmul rate, with a fake clock."""

import itertools

import jax
import pytest

from clinometer.kernels.bench import matmul_rate


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("products", [1, 4])
def test_the_rate_is_work_over_the_median_time(monkeypatch, dtype, products):
    monkeypatch.setitem(matmul_rate._SIZE, jax.default_backend(), (32, products))
    # Samples of 0.125, 1 and 0.25 s: no more than three, as they are long.
    ticks = itertools.accumulate([0.0, 0.125, 0.0, 1.0, 0.0, 0.25])
    rate = matmul_rate.measure(dtype, clock=lambda: next(ticks))
    assert rate == products * 2 * 32**3 / 0.25


def test_short_samples_are_many(monkeypatch):
    monkeypatch.setitem(matmul_rate._SIZE, jax.default_backend(), (32, 1))
    calls = itertools.count()
    matmul_rate.measure("float32", clock=lambda: 1e-6 * next(calls))
    assert next(calls) == 2 * 15


def test_products_of_products_stay_finite(monkeypatch):
    monkeypatch.setitem(matmul_rate._SIZE, jax.default_backend(), (64, 200))
    with jax.debug_nans(True):
        assert matmul_rate.measure("bfloat16") > 0
