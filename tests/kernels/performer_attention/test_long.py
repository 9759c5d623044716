"""Tests sums over half a million positions against float64 running sums."""

import jax
import numpy as np
import pytest

from clinometer.kernels import performer_attention

LENGTH, WIDTH, EPSILON = 500_000, 4, 1e-3


def truth(query, key, value, grad, causal):
    """Output and gradients of one head, [S, D] each."""
    query, key, value, grad = (x.astype(np.float64) for x in (query, key, value, grad))
    queries, keys = np.maximum(query, 0) + EPSILON, np.maximum(key, 0) + EPSILON

    def over_keys(x):
        return np.cumsum(x, axis=0) if causal else x.sum(0, keepdims=True)

    def over_queries(x):
        return over_keys(x[::-1])[::-1]

    state = over_keys(keys[:, :, None] * value[:, None])
    total = over_keys(keys)
    denominator = (queries * total).sum(1, keepdims=True)
    output = (queries[:, :, None] * state).sum(1) / denominator
    of_sum = grad / denominator
    of_total = -(grad * output).sum(1, keepdims=True) / denominator
    query_grad = (of_sum[:, None] * state).sum(2) + of_total * total
    state = over_queries(queries[:, :, None] * of_sum[:, None])
    key_grad = (value[:, None] * state).sum(2) + over_queries(queries * of_total)
    value_grad = (keys[:, :, None] * state).sum(1)
    return output, query_grad * (query > 0), key_grad * (key > 0), value_grad


@pytest.mark.parametrize(
    "implementation", ["cpu", pytest.param("reference", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("causal", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_half_a_million_positions(causal, implementation):
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(4, LENGTH, WIDTH)).astype(np.float32)
    arrays[2] += 1  # Values whose sum grows.

    @jax.jit
    def step(query, key, value, grad):
        def attend(query, key, value):
            return performer_attention(
                query,
                key,
                value,
                causal=causal,
                epsilon=EPSILON,
                implementation=implementation,
            )

        output, vjp = jax.vjp(attend, query, key, value)
        return output, *vjp(grad)

    got = step(*(x[None, :, None] for x in arrays))
    # What is left of a query's gradient is a small difference of sums.
    tolerances = (2e-5, 1.5e-3, 5e-5, 5e-5)
    for x, want, tolerance in zip(got, truth(*arrays, causal), tolerances, strict=True):
        x = np.asarray(x)[0, :, 0]
        for part in (slice(0, 1000), slice(-1000, None)):
            error = np.abs(x[part] - want[part]).max()
            assert error < tolerance * np.abs(want[part]).max()
