"""Tests bias bands and their gradients against an explicit Toeplitz matrix."""

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import context
from clinometer.kernels.relative_attention import tpu_band
from clinometer.kernels.tpu import wrap

T, S, QUERIES, KEYS = 200, 150, 256, 256


def run(body, result, *args, chip):
    with context.target(chip), context.interpret(pltpu.InterpretParams()):
        call = wrap.call(body, "band", dimension_semantics=(), out_shape=result)
        return np.asarray(call(*args))


@pytest.mark.parametrize("chip", ["TPU v4", "TPU v5e"])
def test_tiles_and_their_sums(chip):
    rng = np.random.default_rng(0)
    bias = rng.normal(size=(2, T + S - 1)).astype(np.float32)
    vector = tpu_band.to_vector(jnp.asarray(bias), S, QUERIES, KEYS)
    assert vector.shape == (2, QUERIES + KEYS)
    width = QUERIES + KEYS - tpu_band.ROWS
    shape = jax.ShapeDtypeStruct((2, tpu_band.ROWS, width), jnp.float32)
    band = run(lambda x, y: tpu_band.build(y, x[...]), shape, vector, chip=chip)
    got = np.zeros((2, KEYS, QUERIES), np.float32)
    for row in range(0, KEYS, 128):
        x = tpu_band.window(row, 0, KEYS)
        got[:, row : row + 128] = band[:, :, x : x + QUERIES]
    want = np.array(
        [[[b[s - t + T - 1] for t in range(T)] for s in range(S)] for b in bias]
    )
    np.testing.assert_array_equal(got[:, :S, :T], want)

    gradient = rng.normal(size=(KEYS, QUERIES)).astype(np.float32)
    gradient[S:] = gradient[:, T:] = 0
    summed = np.zeros((tpu_band.ROWS, width), np.float32)
    for row in range(0, KEYS, 128):
        x = tpu_band.window(row, 0, KEYS)
        summed[:, x : x + QUERIES] += gradient[row : row + 128]
    shape = jax.ShapeDtypeStruct((1, QUERIES + KEYS), jnp.float32)

    def body(x_ref, y_ref):
        y_ref[...] = tpu_band.sums(x_ref[...])

    got = run(body, shape, jnp.asarray(summed), chip=chip)
    got = tpu_band.from_vector(got, S, KEYS, T + S - 1)[0]
    want = [np.trace(gradient[:S, :T].T, n - (T - 1)) for n in range(T + S - 1)]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
