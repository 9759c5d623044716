"""Convolutional layers against float64 NumPy, their counts and initialisers."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from clinometer.models.layers import convolution

BATCH, LENGTH, WIDTH, TAPS = 2, 9, 6, 5
MODULES = {
    "mtf": functools.partial(convolution.LightConv),
    "mtf-heads": functools.partial(convolution.LightConv, 3),
    "fairseq": functools.partial(convolution.LightConv, 2, form="fairseq"),
    "dynamic": functools.partial(convolution.DynamicConv, 2),
}
HEADS = {"mtf": WIDTH, "mtf-heads": 3, "fairseq": 2, "dynamic": 2}
every_module = pytest.mark.parametrize("name", MODULES)


def transform(name, causal, method="__call__", **settings):
    def forward(*args):
        settings.setdefault("kernel_size", TAPS)
        module = MODULES[name](causal=causal, name="conv", **settings)
        return getattr(module, method)(*args)

    return hk.without_apply_rng(hk.transform(forward))


@pytest.fixture
def x():
    shape = (BATCH, LENGTH, WIDTH)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def random_params(function, x):
    """Returns random parameters, also for biases, which are initialised to 0."""
    params = jax.eval_shape(function.init, jax.random.key(0), x)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda p: np.float32(0.5 * rng.normal(size=p.shape)), params)


def definition(name, params, x, causal, mask):
    """Computes the whole layer, tap by tap."""
    w = {key: np.asarray(leaf, np.float64) for key, leaf in params["conv"].items()}
    gated = (x @ w["value"] + w["value_bias"]) * special.expit(
        x @ w["gate"] + w["gate_bias"]
    )
    gated = np.where(mask[..., None], gated, 0)
    filters = gated @ w["filter"] if name == "dynamic" else w["filter"]
    filters = special.softmax(
        filters.reshape(*filters.shape[:-2], -1, HEADS[name], TAPS), axis=-1
    )
    if name == "dynamic":
        filters = filters.reshape(BATCH, LENGTH, HEADS[name], TAPS)
    else:
        filters = np.broadcast_to(filters, (BATCH, LENGTH, HEADS[name], TAPS))
    y = np.zeros(x.shape)
    first = TAPS - 1 if causal else (TAPS - 1) // 2
    for s, j, c in np.ndindex(LENGTH, TAPS, WIDTH):
        if 0 <= s + j - first < LENGTH:
            head = c * HEADS[name] // WIDTH
            y[:, s, c] += filters[:, s, head, j] * gated[:, s + j - first, c]
    if name.startswith("mtf"):
        y = (y + w["filter_bias"]) @ w["pointwise"] + w["pointwise_bias"]
    return y @ w["output"] + w["output_bias"]


@every_module
@pytest.mark.parametrize("causal", [False, True])
def test_equals_the_definition(x, name, causal):
    mask = np.arange(LENGTH) < np.array([[LENGTH], [5]])
    function = transform(name, causal)
    params = random_params(function, x)
    got = jax.jit(function.apply)(params, x, mask)
    want = definition(name, params, x, causal, mask)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_parameter_counts():
    """The documented formulas hold at the base size."""
    d, taps, heads = 768, 31, 12
    wants = {
        "mtf": 4 * d**2 + 5 * d + taps * d,
        "mtf-heads": 4 * d**2 + 5 * d + taps * 3,
        "fairseq": 3 * d**2 + 3 * d + taps * 2,
        "dynamic": 3 * d**2 + 3 * d + d * heads * taps,
    }
    for name, want in wants.items():
        function = transform(name, True, kernel_size=taps)
        if name == "dynamic":
            function = hk.transform(
                lambda x: convolution.DynamicConv(heads, taps, True)(x)
            )
        shapes = jax.eval_shape(function.init, jax.random.key(0), jnp.ones((1, 1, d)))
        assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == want
        assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("f4")}


@every_module
def test_initialisers(name):
    width, taps = 600, 31
    function = transform(name, True, kernel_size=taps)
    init = jax.jit(function.init)
    params = init(jax.random.key(0), jnp.zeros((1, 1, width)))["conv"]
    dense = {"value", "gate", "output", "pointwise"} & params.keys()
    for leaf in dense | {"filter"}:
        kernel = np.asarray(params[leaf])
        if name.startswith("mtf"):
            fan_in = taps if leaf == "filter" else width
            limit, std = 2 * fan_in**-0.5, 0.8796 * fan_in**-0.5
        else:
            fans = sum(kernel.shape)
            if leaf in ("value", "gate"):
                fans = width + 2 * width
            limit = (6 / fans) ** 0.5
            std = limit / 3**0.5
        assert 0.8 * limit < np.abs(kernel).max() <= limit * 1.0001
        assert abs(kernel.std() / std - 1) < 4 * (2 * kernel.size) ** -0.5 + 0.001
    for leaf in params.keys() - dense - {"filter"}:
        assert leaf.endswith("_bias") and not np.asarray(params[leaf]).any()


@every_module
@pytest.mark.parametrize("causal", [False, True])
def test_a_position_sees_its_window_only(x, name, causal):
    function = transform(name, causal)
    params = random_params(function, x)
    jacobian = jax.jit(jax.jacrev(lambda row: function.apply(params, row[None])[0]))
    slopes = np.abs(np.asarray(jacobian(x[0]))).max(axis=(1, 3))  # [S, S]
    distance = np.arange(LENGTH) - np.arange(LENGTH)[:, None]
    last = 0 if causal else (TAPS - 1) // 2
    seen = (distance <= last) & (distance > last - TAPS)
    np.testing.assert_array_equal(slopes > 0, seen)


@every_module
def test_padding_has_no_influence(x, name):
    mask = np.arange(LENGTH) < np.array([[LENGTH], [5]])
    function = transform(name, False)
    params = random_params(function, x)
    apply = jax.jit(function.apply)
    changed = np.where(mask[..., None], x, 100.0)
    got, want = (apply(params, y, mask) for y in (changed, x))
    np.testing.assert_array_equal(got, want)


@every_module
@pytest.mark.parametrize("taps", [1, 4])
def test_step_by_step_equals_the_whole(x, name, taps):
    function = transform(name, True, kernel_size=taps)
    params = random_params(function, x)
    step = transform(name, True, "step", kernel_size=taps).apply
    init_state = transform(name, True, "init_state", kernel_size=taps).apply
    state = init_state(params, BATCH, WIDTH)
    assert state.shape == (BATCH, taps - 1, WIDTH)

    def body(state, row):
        y, state = step(params, row[:, None], state)
        return state, y[:, 0]

    _, got = jax.jit(lambda rows: jax.lax.scan(body, state, rows))(x.swapaxes(0, 1))
    want = jax.jit(function.apply)(params, x)
    np.testing.assert_allclose(got.swapaxes(0, 1), want, rtol=1e-4, atol=1e-5)


def test_a_dynamic_filter_of_zeros_is_a_light_one(x):
    params = random_params(transform("fairseq", True), x)
    light = {**params["conv"], "filter": np.zeros((2, TAPS), np.float32)}
    dynamic = {**light, "filter": np.zeros((WIDTH, 2 * TAPS), np.float32)}
    got = jax.jit(transform("dynamic", True).apply)({"conv": dynamic}, x)
    want = jax.jit(transform("fairseq", True).apply)({"conv": light}, x)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["fairseq", "dynamic"])
def test_dropconnect_drops_normalised_weights(name):
    """One tap has weight 1, so each head is dropped or scaled by 1 / (1 - rate)."""
    x = np.ones((1, 400, WIDTH), np.float32)
    settings = {"kernel_size": 1, "dropconnect_rate": 0.2}
    function = transform(name, True, **settings)
    params = random_params(function, x)
    params["conv"] |= {"output": np.eye(WIDTH, dtype=np.float32)}
    params["conv"] |= {"output_bias": np.zeros(WIDTH, np.float32)}
    apply = jax.jit(function.apply)
    ratio = apply(params, x, None, jax.random.key(3)) / apply(params, x)
    heads = np.asarray(ratio)[0].reshape(400, 2, 3)
    np.testing.assert_allclose(heads, heads[:, :, :1].repeat(3, axis=2), rtol=1e-5)
    if name == "fairseq":
        np.testing.assert_allclose(heads, heads[:1].repeat(400, axis=0), rtol=1e-5)
    else:
        np.testing.assert_allclose(np.unique(heads.round(3)), [0, 1.25])
        # Five standard deviations for 800 draws.
        assert abs((heads[:, :, 0] == 0).mean() - 0.2) < 5 * (0.16 / 800) ** 0.5


@every_module
def test_computes_in_the_dtype_of_x(x, name):
    function = transform(name, True)
    params = random_params(function, x)
    got = jax.jit(function.apply)(params, jnp.asarray(x, jnp.bfloat16))
    assert got.dtype == jnp.bfloat16
    want = definition(name, params, x, True, np.ones((BATCH, LENGTH), bool))
    np.testing.assert_allclose(got.astype(jnp.float32), want, rtol=0.1, atol=0.03)


@pytest.mark.parametrize(
    ("settings", "method", "message"),
    [
        ({"form": "torch"}, "__call__", "LightConv: form: unknown 'torch'"),
        ({"kernel_size": 4}, "__call__", "light_conv: weights: has 4 taps"),
        ({"num_heads": 4}, "__call__", "has 4 heads, which must divide"),
        ({}, "step", "LightConv: step: needs causal=True"),
    ],
)
def test_bad_settings(x, settings, method, message):
    function = transform("mtf", False, method, **settings)
    args = (x,) if method == "__call__" else (x[:, :1], x[:, : TAPS - 1])
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(function.init, jax.random.key(0), *args)
