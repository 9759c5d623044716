"""Tests of the health metrics against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.train import health

_TREE = {
    "decoder/final_norm": {"scale": np.array([3.0, 4.0])},
    "decoder/layer_0/attention_norm": {"scale": np.array([0.0])},
    "encoder/layer_0/feed_forward": {"wi": np.array([[1.0]]), "wo": np.array([[2.0]])},
    "encoder/layer_1/feed_forward": {"wi": np.array([[3.0]]), "wo": np.array([[4.0]])},
}
_STACKED = {
    "decoder/final_norm": {"scale": np.array([3.0, 4.0])},
    "decoder/layers/layer/attention_norm": {"scale": np.array([[0.0]])},
    "encoder/layers/layer/feed_forward": {
        "wi": np.array([[[1.0]], [[3.0]]]),
        "wo": np.array([[[2.0]], [[4.0]]]),
    },
}


def _scaled(tree, factor):
    return jax.tree.map(lambda x: jnp.asarray(x * factor), tree)


def test_groups_do_not_depend_on_the_form():
    assert health.groups(_TREE) == ["decoder/norms", "encoder/feed_forward"]
    assert health.groups(_STACKED) == health.groups(_TREE)
    assert health.group_of("token_embedding") == "token_embedding"


def test_measure():
    for tree in (_TREE, _STACKED):
        params, gradients = _scaled(tree, 1.0), _scaled(tree, 10.0)
        values = health.measure(params, gradients, _scaled(tree, -0.5))
        norms = np.sqrt(25 / 3)
        ffn = np.sqrt(30 / 4)
        expected = [[10 * norms, norms, 0.5], [10 * ffn, ffn, 0.5]]
        np.testing.assert_allclose(values, expected, rtol=1e-6)
        named = health.named(health.groups(params), np.asarray(values))
        np.testing.assert_allclose(
            named["health/gradient_rms/decoder/norms"], 10 * norms
        )
        assert len(named) == 6


def test_spikes():
    history = [1.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.0, 1.0]
    # The median is 1.0 and the median absolute deviation 0.05.
    assert health.is_spike(1.31, history, threshold=6.0)
    assert not health.is_spike(1.29, history, threshold=6.0)
    assert not health.is_spike(100.0, history[:7], threshold=6.0)
