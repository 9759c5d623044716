"""Tests of `expert_feed_forward`: values, gradients, bits of its parts, and errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import cost
from clinometer.kernels import expert_feed_forward
from clinometer.kernels import expert_matmul
from clinometer.tests.kernels.switch import truth

# Groups, experts, capacity, width, hidden width.
SHAPES = [(1, 2, 1, 1, 1), (2, 3, 7, 5, 9), (3, 8, 13, 64, 24), (1, 2, 65, 130, 40)]


RATE = 0.3


def run(x, wi, wo, counts, **settings):
    return expert_feed_forward(x, wi, wo, counts, num_tokens=50, **settings)


def composed(x, wi, wo, counts, implementation, dropout_key=None):
    """The same by two products, as other activations are."""
    matmul = functools.partial(
        expert_matmul, counts=counts, num_tokens=50, implementation=implementation
    )
    hidden = jax.nn.relu(matmul(x, wi, hidden="output"))
    if dropout_key is not None:
        kept = jax.random.bernoulli(dropout_key, 1 - RATE, hidden.shape)
        hidden = jnp.where(kept, hidden / (1 - RATE), jnp.zeros((), hidden.dtype))
    return matmul(hidden, wo, hidden="input")


def results(function, x, wi, wo, counts, y_grad):
    def step(x, wi, wo):
        y, pull = jax.vjp(lambda *a: function(*a, counts), x, wi, wo)
        return y, *pull(y_grad)

    return jax.jit(step)(x, wi, wo)


@pytest.mark.parametrize("implementation", truth.IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_and_the_bits_of_two_products(
    shape, dtype, implementation
):
    operands = truth.feed_forward_operands(shape, dtype)
    found = results(functools.partial(run, implementation=implementation), *operands)
    truth.compare_feed_forward(found, operands)
    parts = functools.partial(composed, implementation=implementation)
    for a, b in zip(found, results(parts, *operands), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("implementation", truth.IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_dropout_has_the_mask_of_jax_random_and_the_bits_of_two_products(
    shape, dtype, implementation
):
    operands = truth.feed_forward_operands(shape, dtype)
    given = {"implementation": implementation, "dropout_key": jax.random.key(7)}
    function = functools.partial(run, dropout_rate=RATE, **given)
    found = results(function, *operands)
    hidden = (*shape[:3], shape[4])
    kept = np.asarray(jax.random.bernoulli(given["dropout_key"], 1 - RATE, hidden))
    truth.compare_feed_forward(found, operands, kept / (1 - RATE))
    parts = functools.partial(composed, **given)
    for a, b in zip(found, results(parts, *operands), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_empty_slots_hold_has_no_effect():
    x, wi, wo, counts, y_grad = truth.feed_forward_operands(SHAPES[2], jnp.float32)
    empty = (np.arange(x.shape[2]) >= counts[..., None])[..., None]
    with_nan = [jnp.where(empty, jnp.nan, a) for a in (x, y_grad)]
    found = results(run, with_nan[0], wi, wo, counts, with_nan[1])
    for a, b in zip(found, results(run, x, wi, wo, counts, y_grad), strict=True):
        np.testing.assert_array_equal(a, b)


def test_flops_are_those_of_two_products():
    operands = truth.feed_forward_operands(SHAPES[2], jnp.float32)
    whole, parts = (
        cost.count_flops(functools.partial(results, function), *operands)
        for function in (run, functools.partial(composed, implementation="auto"))
    )
    groups, _, _, width, hidden = SHAPES[2]
    assert whole == parts == 6 * 2 * groups * 50 * width * hidden


X = jax.ShapeDtypeStruct((2, 3, 4, 8), jnp.float32)
COUNTS = jax.ShapeDtypeStruct((2, 3), jnp.int32)


@pytest.mark.parametrize(
    ("wi", "wo", "settings", "message"),
    [
        ((3, 8), (3, 5, 8), {}, r"wi: must be \[experts, width, hidden width\]"),
        ((3, 7, 5), (3, 5, 8), {}, r"wi: must be float32 \(3, 8, 5\)"),
        ((3, 8, 5), (3, 8, 5), {}, r"wo: must be float32 \(3, 5, 8\)"),
        ((3, 8, 5), (3, 5, 8), {"num_tokens": 0}, "num_tokens: must be at least 1"),
        ((3, 8, 5), (3, 5, 8), {"implementation": "gpu"}, "accepted are auto"),
        ((3, 8, 5), (3, 5, 8), {"dropout_rate": 1.0}, r"dropout_rate: must be in \[0"),
    ],
)
def test_bad_arguments_are_named(wi, wo, settings, message):
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (wi, wo)]
    function = functools.partial(expert_feed_forward, **{"num_tokens": 9} | settings)
    with pytest.raises(ValueError, match=f"expert_feed_forward: .*{message}"):
        jax.eval_shape(function, X, *shapes, COUNTS)
