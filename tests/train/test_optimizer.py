"""Tests of Adafactor and AdamW against their formulas in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from clinometer.train import errors
from clinometer.train import optimizer

_STEPS = 20
_ADAFACTOR = {
    "name": "adafactor",
    "min_dim_size_to_factor": 128,
    "decay_rate": 0.8,
    "clipping_threshold": 1.0,
}
_SHAPES = {
    "factored": (160, 128),
    "factored_wide": (128, 300),
    "unfactored": (127, 300),
    "vector": (200,),
}


def _rms(x):
    return np.sqrt(np.mean(np.square(x)))


def _reference_adafactor(parameter, gradients, rate, factor_from=128):
    """Adafactor of ARCHITECTURES.md#training-optimizer in float64."""
    parameter = parameter.astype(np.float64)
    row, column, full = 0.0, 0.0, 0.0
    for t, gradient in enumerate(gradients):
        gradient = gradient.astype(np.float64)
        beta = 1 - (t + 1) ** -0.8
        square = gradient**2 + 1e-30
        if parameter.ndim >= 2 and sorted(parameter.shape)[-2] >= factor_from:
            row = beta * row + (1 - beta) * square.mean(axis=1)
            column = beta * column + (1 - beta) * square.mean(axis=0)
            update = gradient / np.sqrt(np.outer(row, column) / row.mean())
        else:
            full = beta * full + (1 - beta) * square
            update = gradient / np.sqrt(full)
        update /= max(1.0, _rms(update) / 1.0)
        parameter = parameter - rate(t) * max(_rms(parameter), 1e-3) * update
    return parameter


def _rate(t):
    return 0.05 / np.sqrt(t + 1.0)


def _data(shape, seed):
    rng = np.random.default_rng(seed)
    parameter = rng.normal(size=shape) * 0.1
    # Gradients of changing size, so that clipping and the averages matter.
    scales = 10.0 ** rng.uniform(-3, 1, size=_STEPS)
    gradients = [rng.normal(size=shape) * scale for scale in scales]
    return parameter.astype(np.float32), [g.astype(np.float32) for g in gradients]


def _run(made, params, gradient_trees):
    """Applies an optimizer to a sequence of gradients."""
    state = made.init(params)
    update = jax.jit(made.update)
    for t, gradients in enumerate(gradient_trees):
        updates, state = update(gradients, state, params, jnp.float32(_rate(t)))
        params = jax.tree.map(jnp.add, params, updates)
    return params


@pytest.mark.parametrize("name", _SHAPES)
def test_adafactor_equals_the_reference(name):
    parameter, gradients = _data(_SHAPES[name], seed=1)
    params = _run(
        optimizer.make(_ADAFACTOR),
        {"module": {"w": jnp.asarray(parameter)}},
        [{"module": {"w": jnp.asarray(g)}} for g in gradients],
    )
    expected = _reference_adafactor(parameter, gradients, _rate)
    np.testing.assert_allclose(params["module"]["w"], expected, rtol=2e-4, atol=2e-6)


def test_factoring_is_seen_by_the_test():
    """Mutation: a reference that does not factor differs from one that does."""
    parameter, gradients = _data((160, 128), seed=1)
    factored = _reference_adafactor(parameter, gradients, _rate)
    unfactored = _reference_adafactor(parameter, gradients, _rate, factor_from=10**6)
    assert np.abs(factored - unfactored).max() > 1e-3


@pytest.mark.parametrize("shape", [(160, 128), (16, 24), (40,)])
def test_stacked_layers_move_as_separate_ones(shape):
    layers = [_data(shape, seed) for seed in range(3)]
    # Layers of different scale, so that a shared RMS would be detected.
    layers = [
        (p * 10.0**i, [g * 100.0**i for g in gs]) for i, (p, gs) in enumerate(layers)
    ]
    module = "encoder/layers/layer/feed_forward"
    stacked = _run(
        optimizer.make(_ADAFACTOR),
        {module: {"w": jnp.stack([p for p, _ in layers])}},
        [
            {module: {"w": jnp.stack([gs[t] for _, gs in layers])}}
            for t in range(_STEPS)
        ],
    )
    expected = np.stack([_reference_adafactor(p, gs, _rate) for p, gs in layers])
    np.testing.assert_allclose(stacked[module]["w"], expected, rtol=3e-4, atol=3e-6)


def test_a_leaf_with_a_leading_axis_is_no_stack():
    """Mutation: under another module name the same leaf shares one RMS."""
    parameter, gradients = _data((3, 16, 24), seed=4)
    parameter = parameter * np.array([1, 10, 100.0], np.float32)[:, None, None]
    moved = {}
    for module in ("encoder/layers/layer/feed_forward", "encoder/feed_forward"):
        params = _run(
            optimizer.make(_ADAFACTOR),
            {module: {"w": jnp.asarray(parameter)}},
            [{module: {"w": jnp.asarray(g)}} for g in gradients],
        )
        moved[module] = np.asarray(params[module]["w"])
    first, second = moved.values()
    assert np.abs(first - second).max() > 1e-2


@pytest.mark.parametrize("shape", [(160, 128), (16, 24), (1,), ()])
def test_adafactor_is_that_of_optax(shape):
    """The state has the same structure, so that older checkpoints can be resumed."""
    ours = optimizer.make(_ADAFACTOR)
    theirs = optimizer.per_leaf(
        optax.adafactor(
            learning_rate=None,
            min_dim_size_to_factor=128,
            decay_rate=0.8,
            clipping_threshold=1.0,
        )
    )
    parameter, gradients = _data(shape, seed=5)
    params = {"module": {"w": jnp.asarray(parameter)}}
    trees = [{"module": {"w": jnp.asarray(g)}} for g in gradients]
    state, other = ours.init(params), theirs.init(params)
    assert jax.tree.structure(state) == jax.tree.structure(other)
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, other)
    # The square roots differ by some units of 2^-24, in each of 20 steps.
    np.testing.assert_allclose(
        _run(ours, params, trees)["module"]["w"],
        _run(theirs, params, trees)["module"]["w"],
        rtol=1e-5,
        atol=1e-7,
    )


def test_adamw_equals_the_reference():
    config = {"name": "adamw", "b1": 0.9, "b2": 0.98, "eps": 1e-6, "weight_decay": 0.1}
    parameter, gradients = _data((16, 24), seed=2)
    params = _run(
        optimizer.make(config),
        {"module": {"w": jnp.asarray(parameter)}},
        [{"module": {"w": jnp.asarray(g)}} for g in gradients],
    )
    expected, m, v = parameter.astype(np.float64), 0.0, 0.0
    for t, gradient in enumerate(np.asarray(gradients, np.float64)):
        m, v = 0.9 * m + 0.1 * gradient, 0.98 * v + 0.02 * gradient**2
        step = (m / (1 - 0.9 ** (t + 1))) / (np.sqrt(v / (1 - 0.98 ** (t + 1))) + 1e-6)
        expected = expected - _rate(t) * (step + 0.1 * expected)
    np.testing.assert_allclose(params["module"]["w"], expected, rtol=2e-4, atol=2e-5)


def test_unknown_name_is_an_error():
    with pytest.raises(errors.RunError, match=r"optimizer\.name.*'sgd'.*adafactor"):
        optimizer.make({"name": "sgd"})
