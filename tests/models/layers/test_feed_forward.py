"""The feed-forward sublayer against float64 NumPy, and its initialisers."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from clinometer.models.layers import feed_forward

FUNCTIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: (
        0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    ),
    "swish": lambda x: x * special.expit(x),
    "linear": lambda x: x,
    "sigmoid": special.expit,
}


def transform(activation):
    return hk.without_apply_rng(
        hk.transform(lambda x: feed_forward.FeedForward(40, activation, name="ffn")(x))
    )


@pytest.mark.parametrize("activation", feed_forward.ACTIVATIONS)
def test_equals_the_definition(activation):
    x = np.random.default_rng(0).normal(size=(2, 3, 16)).astype(np.float32)
    function = transform(activation)
    params = function.init(jax.random.key(0), jnp.asarray(x))
    w = {name: np.asarray(leaf, np.float64) for name, leaf in params["ffn"].items()}
    act = FUNCTIONS[activation.removeprefix("gated-")]
    if activation.startswith("gated-"):
        want = (act(x @ w["wi_0"]) * (x @ w["wi_1"])) @ w["wo"]
    else:
        want = act(x @ w["wi"]) @ w["wo"]
    got = function.apply(params, jnp.asarray(x))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_kernels_are_truncated_normal_by_their_fan_in():
    function = transform("relu")
    params = function.init(jax.random.key(0), jnp.zeros((1, 1, 5000)))["ffn"]
    for name, fan_in in (("wi", 5000), ("wo", 40)):
        kernel = np.asarray(params[name]) * fan_in**0.5
        assert np.abs(kernel).max() <= 2.0
        # Deviation of a normal cut at two: 0.8796, not rescaled to 1.
        assert abs(kernel.std() - 0.8796) < 0.005
