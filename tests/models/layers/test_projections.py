"""The projections of attention: initialisers, and tied keys and values."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from clinometer.models.layers import projections


def transform(*args, **settings):
    def forward(x):
        module = projections.AttentionProjections(*args, name="a", **settings)
        query = module.query(x)
        key, value = module.key_value(x)
        return query, key, value, module.output(query, x.shape[-1])

    return hk.without_apply_rng(hk.transform(forward))


def test_initialisers():
    init = jax.jit(transform(8, 32).init)
    params = init(jax.random.key(0), jnp.zeros((1, 1, 512)))["a"]
    deviations = {
        "query": (512 * 32) ** -0.5,
        "key": 512**-0.5,
        "value": 512**-0.5,
        "output": (8 * 32) ** -0.5,
    }
    assert params.keys() == deviations.keys()
    for name, want in deviations.items():
        kernel = np.asarray(params[name])
        assert abs(kernel.std() / want - 1) < 0.02
        assert np.abs(kernel).max() > 3 * want  # Not truncated.


def test_tied_and_shared_heads():
    function = transform(2, 4, num_kv_heads=1, shared_kv=True)
    x = jax.random.normal(jax.random.key(1), (1, 3, 8), jnp.bfloat16)
    params = jax.jit(function.init)(jax.random.key(0), x)
    shapes = {name: leaf.shape for name, leaf in params["a"].items()}
    assert shapes == {"query": (8, 8), "key_value": (8, 4), "output": (8, 8)}
    assert {leaf.dtype for leaf in params["a"].values()} == {np.dtype("float32")}
    query, key, value, output = jax.jit(function.apply)(params, x)
    assert query.shape == (1, 3, 2, 4) and key.shape == (1, 3, 1, 4)
    np.testing.assert_array_equal(key, value)
    assert output.shape == x.shape and output.dtype == x.dtype
