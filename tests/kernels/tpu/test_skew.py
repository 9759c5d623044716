"""Tests both forms of skewed tiles against NumPy's rolls."""

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import context
from clinometer.kernels.tpu import skew
from clinometer.kernels.tpu import wrap

ROWS, WIDTH = 24, 256


def run(function, x, chip):
    def body(x_ref, y_ref):
        y_ref[...] = function(x_ref[...])

    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    with context.target(chip), context.interpret(pltpu.InterpretParams()):
        call = wrap.call(body, "skew", dimension_semantics=(), out_shape=shape)
        return np.asarray(call(x))


@pytest.mark.parametrize("chip", ["TPU v4", "TPU v5e"])
@pytest.mark.parametrize("shift", [0, 5, WIDTH - 3, -9])
def test_rows_are_rolled_by_their_index(chip, shift):
    x = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
    right = [np.roll(row, i + shift) for i, row in enumerate(x)]
    left = [np.roll(row, -i + shift) for i, row in enumerate(x)]
    skewed = run(lambda x: skew.skew(x, shift), jnp.asarray(x), chip)
    np.testing.assert_array_equal(skewed, np.stack(right))
    unskewed = run(lambda x: skew.unskew(x, shift), jnp.asarray(x), chip)
    np.testing.assert_array_equal(unskewed, np.stack(left))
