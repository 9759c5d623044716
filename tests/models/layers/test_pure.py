"""Pure functions of Haiku modules: how parameters are drawn."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from clinometer.models import keys
from clinometer.models.layers import parameters
from clinometer.models.layers import pure


class Layer(hk.Module):
    def __call__(self, x: jax.Array) -> jax.Array:
        x = parameters.dense("kernel", x, x.shape[-1], ("embed", "mlp"), with_bias=True)
        parameters.make("table", (3, 4), ("vocab", "embed"), wave)
        parameters.make("scale", (4,), ("embed",), parameters.normal(2.0))
        return x


def wave(shape, dtype):
    """An initialiser from outside: a function."""
    return jnp.sin(jax.random.normal(hk.next_rng_key(), shape, dtype))


@dataclasses.dataclass
class Filled:
    """An initialiser from outside: an object that cannot be hashed."""

    value: float

    def __call__(self, shape, dtype):
        return jnp.full(shape, self.value, dtype)


def test_initialisers_need_not_be_hashable():
    def create():
        for name, value in (("a", 2.0), ("b", 3.0)):
            parameters.make(name, (2,), ("embed",), Filled(value))

    found = pure.initialiser(create)(jax.random.key(0))
    assert {name: x.tolist() for name, x in found["~"].items()} == {
        "a": [2.0, 2.0],
        "b": [3.0, 3.0],
    }


def deep(num_layers):
    def create():
        x = jnp.ones([2, 4])
        for i in range(num_layers):
            x = Layer(name=f"layer_{i}")(x)
        return x

    return create


def test_each_parameter_is_drawn_from_its_own_name():
    key = jax.random.key(5)
    found = jax.jit(pure.initialiser(deep(3)))(key)
    base = next(hk.PRNGSequence(key))
    for i in range(3):
        layer = found[f"layer_{i}"]
        assert set(layer) == {"kernel", "kernel_bias", "table", "scale"}

        def drawn(name, module=f"layer_{i}"):
            folded = keys.fold(base, f"{module}/{name}")
            return next(hk.PRNGSequence(folded))

        normal = jax.random.normal(drawn("scale"), (4,))
        np.testing.assert_array_equal(layer["scale"], 2 * normal)
        other = np.sin(jax.random.normal(drawn("table"), (3, 4)))
        np.testing.assert_allclose(layer["table"], other, rtol=1e-6)
        cut = jax.random.truncated_normal(drawn("kernel"), -2, 2, (4, 4)) / 2
        np.testing.assert_allclose(layer["kernel"], cut, rtol=1e-6)
        np.testing.assert_array_equal(layer["kernel_bias"], np.zeros(4))


def test_a_deep_model_has_no_more_draws_than_a_flat_one():
    def draws(num_layers):
        lowered = jax.jit(pure.initialiser(deep(num_layers))).lower(jax.random.key(0))
        return lowered.as_text().count("chlo.erf_inv")

    assert draws(9) == draws(2) > 0


def test_parameters_equal_those_of_a_call_without_jit():
    initialise = pure.initialiser(deep(2))
    for key in (jax.random.key(0), jax.random.key(1)):
        found = jax.tree.leaves(jax.jit(initialise)(key))
        for one, other in zip(found, jax.tree.leaves(initialise(key)), strict=True):
            np.testing.assert_array_equal(one, other)
