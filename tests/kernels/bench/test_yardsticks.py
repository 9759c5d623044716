"""Tests the yardsticks against FLOPs and bytes computed by hand."""

import functools

import jax
import jax.numpy as jnp
import pytest

from clinometer import kernels
from clinometer.kernels.bench import timer
from clinometer.kernels.bench import yardsticks

X = jax.ShapeDtypeStruct((2, 64, 32), jnp.float32)
WEIGHTS = jax.ShapeDtypeStruct((2, 64, 4, 7), jnp.float32)


def test_a_profile_is_work_by_the_machines_rates():
    convolve = functools.partial(
        kernels.dynamic_conv, causal=True, implementation="cpu"
    )
    timings = {
        "cpu": timer.Timing((0.5,)),
        yardsticks.MATMUL: timer.Timing((1.0,)),
        yardsticks.COPY: timer.Timing((2.0,)),
    }
    found = yardsticks.Workload.of(convolve, (X, WEIGHTS)).profile(timings)
    flops = 2 * (2 * 64 * 32) * 7
    moved = 4 * (2 * (2 * 64 * 32) + 2 * 64 * 4 * 7)
    assert found["executed_flops"] == flops
    assert found["least_bytes"] == moved
    matmul = (flops / 0.5) / (2 * 1024**3 / 1.0)
    assert found["fraction_of_matmul_rate"] == pytest.approx(matmul)
    assert found["fraction_of_copy_rate"] == pytest.approx(2.0 / 0.5)


def test_the_yardsticks_run():
    work = yardsticks.Workload(executed_flops=1, least_bytes=8 * 1000)
    product, copy = (run() for run in work.functions().values())
    assert product.shape == (1024, 1024) and float(product[0, 0]) == 1024.0
    assert copy.nbytes == 4 * 1000  # read, and written
