"""RMS norm against float64 NumPy."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from clinometer.models.layers import norm


def test_equals_the_definition():
    x = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32) * 5
    scale = np.linspace(0.5, 2.0, 8)
    function = hk.without_apply_rng(hk.transform(lambda x: norm.RMSNorm()(x)))
    params = function.init(None, jnp.asarray(x))
    assert (params["rms_norm"]["scale"] == 1).all()
    got = function.apply({"rms_norm": {"scale": jnp.asarray(scale)}}, jnp.asarray(x))
    rms = np.sqrt((x.astype(np.float64) ** 2).mean(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(got, x / rms * scale, rtol=1e-5)
    # The mean is not subtracted: a shifted input gives another output.
    assert not np.allclose(function.apply(params, jnp.asarray(x + 3)), got)


def test_bfloat16_is_normalised_in_float32():
    x = jnp.full((1, 256), 3.0, jnp.bfloat16)
    function = hk.without_apply_rng(hk.transform(lambda x: norm.RMSNorm()(x)))
    y = function.apply(function.init(None, x), x)
    assert y.dtype == jnp.bfloat16
    assert jax.device_get(y).astype(float).min() == 1.0
