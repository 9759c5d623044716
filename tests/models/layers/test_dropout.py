"""Dropout's rate, scale and shared axes."""

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.models import keys
from clinometer.models.layers import dropout


def test_rate_and_scale():
    x = jnp.ones((200, 500))
    y = np.asarray(dropout.dropout(x, 0.3, jax.random.key(0)))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.7], rtol=1e-6)
    # Six standard deviations of a binomial share over 100,000 draws.
    assert abs((y == 0).mean() - 0.3) < 6 * (0.3 * 0.7 / y.size) ** 0.5


def test_mask_is_shared_along_the_given_axis_only():
    x = jnp.ones((4, 6, 50))
    y = np.asarray(dropout.dropout(x, 0.5, jax.random.key(1), shared_axes=(1,)))
    assert (y == y[:, :1]).all()
    assert not (y == y[:1]).all()
    z = np.asarray(dropout.dropout(x, 0.5, jax.random.key(1)))
    assert not (z == z[:, :1]).all()


def test_no_key_or_no_rate_changes_nothing():
    x = jnp.arange(6.0)
    assert dropout.dropout(x, 0.5, None) is x
    assert dropout.dropout(x, 0.0, jax.random.key(0)) is x


def test_keys_depend_on_every_place():
    key = jax.random.key(0)
    places = [("a",), ("b",), ("a", 0), ("a", 1), ("a", "b"), ("b", "a")]
    drawn = [jax.random.bits(keys.fold(key, *place)).item() for place in places]
    assert len(set(drawn)) == len(places)
    traced = jax.jit(lambda i: jax.random.bits(keys.fold(key, "a", i)))(1)
    assert traced.item() == drawn[3]
    assert keys.fold(None, "a") is None
