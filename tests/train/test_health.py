"""Tests of the health metrics against NumPy."""

import jax
import jax.extend
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


def test_elements_are_counted_beyond_int32():
    """Traces without allocating: 3 x 2^30 elements, more than an int32 can count."""
    leaf = jax.ShapeDtypeStruct((1 << 10, 1 << 20), jnp.float32)
    tree = {"decoder/logits": dict.fromkeys(("a", "b", "c"), leaf)}
    assert sum(x.size for x in jax.tree.leaves(tree)) > 2**31
    jaxpr = jax.make_jaxpr(health.measure)(tree, tree, tree)
    assert jaxpr.out_avals[0].shape == (1, 3)
    counts = [
        value.val
        for equation in jaxpr.eqns
        if equation.primitive.name == "div"
        for value in equation.invars
        if isinstance(value, jax.extend.core.Literal)
    ]
    assert counts[:3] == [3 * 2.0**30] * 3  # Exact in float32: gradient, parameter, ..


def _run(seed, noise=0.03):
    """Returns the logged losses of a run of 30 records: a decay with noise."""
    steps = np.arange(30)
    scatter = np.random.default_rng(seed).normal(0, noise, 30)
    return (4.5 + 3.1 * np.exp(-steps / 4) + scatter).tolist()


def _marks(losses):
    return [health.is_spike(x, losses[:i], 8.0) for i, x in enumerate(losses)]


def test_a_spike_on_a_falling_loss_is_found():
    found = 0
    for seed in range(100):
        losses = _run(seed)
        losses[22] += 0.5
        marks = _marks(losses)
        found += marks[22]
        assert not any(marks[23:]), "the way back is no spike"
    assert found >= 95


def test_a_smooth_decay_with_noise_has_no_spikes():
    assert sum(any(_marks(_run(seed))) for seed in range(200)) <= 10
    assert not any(_marks(_run(0, noise=0.0)))


def test_the_threshold_counts_scatters_above_the_latest_rises():
    history = [1.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.0, 1.0, 1.1, 0.9, 0.95]
    level = [np.median(history[i - 3 : i]) for i in range(3, 12)]
    rises = np.subtract(history[3:], level[:-1])
    scatter = np.median(np.abs(np.diff(rises))) / np.sqrt(2)
    limit = level[-1] + np.median(rises[-5:]) + 6 * scatter
    assert health.is_spike(limit + 1e-6, history, threshold=6.0)
    assert not health.is_spike(limit - 1e-6, history, threshold=6.0)
    assert not health.is_spike(100.0, history[1:], threshold=6.0)
