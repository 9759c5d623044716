"""The Evolved Transformer: blocks against float64 NumPy, and invariants."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.models.architectures import evolved_sublayers
from clinometer.models.architectures import registry
from clinometer.models.layers import separable_conv
from clinometer.tests.models import every_architecture as every

EVOLVED = registry.ARCHITECTURES["evolved"]
PLAIN = {"vocab_size": 64, "dropout_rate": 0.0}
WIDTH, LENGTH = 6, 24
SEGMENTS = np.ones((2, LENGTH), np.int32)
SEGMENTS[1, 17:] = 0
CONFIG = models.build(f"evolved-DM{WIDTH}-PI", **PLAIN).config

# By ARCHITECTURES.md#evolved-transformer-choices; 12 + 12 cells in the last.
PRINTED = {
    "tiny": "15.36M",
    "small": "59.08M",
    "base": "216.3M",
    "large": "713.6M",
    "xl": "2.22B",
    "NL24-BA": "407.8M",
}


def draw_inputs():
    x = np.random.default_rng(0).normal(size=(*SEGMENTS.shape, WIDTH))
    return (x * (SEGMENTS != 0)[..., None]).astype(np.float32)


def transform(make_module, method="__call__"):
    return hk.without_apply_rng(
        hk.transform(lambda *args: getattr(make_module(), method)(*args))
    )


def draw(function, *args):
    """Draws float32 parameters of a transformed function, including biases."""
    shapes = jax.eval_shape(function.init, jax.random.key(0), *args)
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: (0.5 * rng.normal(size=leaf.shape)).astype(np.float32), shapes
    )


def float64(params):
    return {
        module: {name: leaf.astype(np.float64) for name, leaf in leaves.items()}
        for module, leaves in params.items()
    }


# The formulas, by position and tap.


def convolve(x, filters, offsets):
    """y[t, c] = sum over taps of x[t + offset, c] filters[c, tap]."""
    y = np.zeros_like(x)
    for t in range(x.shape[1]):
        for tap, offset in enumerate(offsets):
            if 0 <= t + offset < x.shape[1]:
                y[:, t] += x[:, t + offset] * filters[:, tap]
    return y


def separable(x, own, offsets):
    y = convolve(x, own["depthwise"], offsets) + own["depthwise_bias"]
    return y @ own["pointwise"] + own["pointwise_bias"]


def layer_norm(x, own):
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return centred / deviation * own["scale"] + own["offset"]


def padded(x, width):
    return np.concatenate([x, np.zeros((*x.shape[:2], width - x.shape[-1]))], -1)


def encoder_conv(params, x):
    own, x = params["conv"], x.astype(np.float64)
    right = np.zeros((*x.shape[:2], WIDTH // 2))
    for t in range(LENGTH):
        for tap, offset in enumerate((-1, 0, 1)):
            if 0 <= t + offset < LENGTH:
                right[:, t] += x[:, t + offset] @ own["conv"][tap]
    h = np.maximum(x @ own["left"], 0) + padded(np.maximum(right, 0), 4 * WIDTH)
    h = layer_norm(h, params["conv/norm"]) * (SEGMENTS != 0)[..., None]
    y = separable(h, params["conv/separable"], range(-4, 5))
    assert y.shape[-1] == WIDTH // 2
    return padded(y, WIDTH)


def decoder_conv(params, x):
    x = x.astype(np.float64)
    left = np.maximum(separable(x, params["conv/left"], range(-10, 1)), 0)
    right = separable(x, params["conv/right"], range(-6, 1))
    assert (left.shape[-1], right.shape[-1]) == (2 * WIDTH, WIDTH // 2)
    h = layer_norm(left + padded(right, 2 * WIDTH), params["conv/norm"])
    h *= (SEGMENTS != 0)[..., None]
    return separable(h, params["conv/inner"], range(-6, 1))


@pytest.mark.parametrize(
    ("module", "reference"),
    [
        (evolved_sublayers.EncoderConv, encoder_conv),
        (evolved_sublayers.DecoderConv, decoder_conv),
    ],
)
def test_convolutional_blocks(module, reference):
    x, args = draw_inputs(), (jnp.asarray(SEGMENTS), None)
    function = transform(lambda: module(CONFIG, "conv"))
    params = draw(function, x, *args)
    got = jax.jit(function.apply)(params, x, *args)
    np.testing.assert_allclose(got, reference(float64(params), x), 1e-4, 1e-4)


def test_gated_linear_unit():
    x = draw_inputs()
    function = transform(lambda: evolved_sublayers.GatedLinearUnit("glu"))
    params = draw(function, x)
    own = float64(params)["glu"]
    gate = 1 / (1 + np.exp(-(x @ own["gate"] + own["gate_bias"])))
    want = (x @ own["value"] + own["value_bias"]) * gate
    np.testing.assert_allclose(function.apply(params, x), want, rtol=1e-4, atol=1e-5)


def test_decoder_block_steps_through_a_long_sequence():
    """The sequence is longer than both windows."""
    x, segments = draw_inputs(), jnp.ones(SEGMENTS.shape, jnp.int32)

    def make():
        return evolved_sublayers.DecoderConv(CONFIG, "conv")

    function = transform(make)
    params = draw(function, x, segments, None)
    want = jax.jit(function.apply)(params, x, segments, None)
    state = (jnp.zeros((2, 10, WIDTH)), jnp.zeros((2, 6, 2 * WIDTH)))
    step = jax.jit(transform(make, "step").apply)
    for t in range(LENGTH):
        y, state = step(params, x[:, t : t + 1], state)
        np.testing.assert_allclose(y[:, 0], want[:, t], rtol=1e-4, atol=1e-5)


def reach(module, params, length=41):
    """Returns the offsets of the inputs that outputs in the middle depend on."""
    segments = jnp.ones((1, length), jnp.int32)
    apply = transform(lambda: module(CONFIG, "conv")).apply
    x = np.random.default_rng(5).normal(size=(1, length, WIDTH)).astype(np.float32)

    def outputs(x):
        return jnp.sum(jnp.square(apply(params, x, segments, None)[0]), axis=-1)

    seen = np.abs(jax.jit(jax.jacobian(outputs))(x)[:, 0]).sum(-1) > 0
    # Several outputs, as the ReLU may zero all channels of a branch at one of them.
    middle = range(length // 2 - 3, length // 2 + 4)
    return {int(s) - t for t in middle for s in np.flatnonzero(seen[t])}


def test_receptive_fields():
    x, args = draw_inputs(), (jnp.asarray(SEGMENTS), None)
    module = evolved_sublayers.EncoderConv
    params = draw(transform(lambda: module(CONFIG, "conv")), x, *args)
    no_right = {**params, "conv": {**params["conv"], "conv": np.zeros((3, 6, 3), "f")}}
    separable_params = dict(params["conv/separable"])
    centre = np.zeros_like(separable_params["depthwise"])
    centre[:, 4] = 1
    separable_params["depthwise"] = centre
    no_window = {**params, "conv/separable": separable_params}
    assert reach(module, params) == set(range(-5, 6))
    assert reach(module, no_right) == set(range(-4, 5))
    assert reach(module, no_window) == {-1, 0, 1}
    module = evolved_sublayers.DecoderConv
    params = draw(transform(lambda: module(CONFIG, "conv")), x, *args)
    assert reach(module, params) == set(range(-16, 1))


def test_initialisers():
    """Standard deviations are as specified, times 0.88 for the truncation at two."""
    params = hk.transform(
        lambda x: separable_conv.SeparableConv(
            9, 400, ("embed", "channels"), name="conv"
        )(x)
    ).init(jax.random.key(0), jnp.ones((1, 9, 600)))["conv"]
    assert params["depthwise"].shape == (600, 9)
    assert abs(float(params["depthwise"].std()) / (0.88 / 3) - 1) < 0.03
    assert abs(float(params["pointwise"].std()) / (0.88 * 600**-0.5) - 1) < 0.03
    assert not params["depthwise_bias"].any()
    assert not params["pointwise_bias"].any()


@pytest.mark.slow
def test_without_its_new_parts_a_cell_is_a_layer_of_a_transformer():
    """Gates, convolutions and parallel attention output zero here."""
    model = models.build("evolved-pico", **PLAIN, decoder_ffn_activation="relu")
    vanilla = models.build("transformer-NL1-PI", **PLAIN)
    params = jax.jit(model.init)(jax.random.key(0))
    silent = {
        "glu": ("value", "value_bias"),
        "conv/separable": ("pointwise", "pointwise_bias"),
        "conv/inner": ("pointwise", "pointwise_bias"),
        "parallel_self_attention": ("output",),
        "parallel_cross_attention": ("output",),
    }
    changed = {}
    for module, leaves in params.items():
        _, _, part = module.partition("layer_0/")
        zeroed = {name: jnp.zeros_like(leaves[name]) for name in silent.get(part, ())}
        changed[module] = {**leaves, **zeroed}
    names = jax.eval_shape(vanilla.init, jax.random.key(0))
    inputs = every.encoder_tokens(), every.decoder_tokens()
    want = jax.jit(vanilla.apply)({name: changed[name] for name in names}, *inputs)
    apply = jax.jit(model.apply)
    np.testing.assert_allclose(apply(changed, *inputs), want, rtol=1e-5, atol=1e-5)
    assert not np.allclose(apply(params, *inputs), want, atol=0.1)


def config_of(name, **options):
    return registry.build(name, **options).config


@pytest.mark.parametrize("name", PRINTED)
def test_parameters_as_printed(name):
    total = EVOLVED.param_counts(config_of(f"evolved-{name}")).total
    printed = PRINTED[name]
    decimals = len(printed[:-1].partition(".")[2])
    unit = {"M": 1e6, "B": 1e9}[printed[-1]]
    assert round(total / unit, decimals) == float(printed[:-1])


def test_exact_counts_of_base():
    config = config_of("evolved-base")
    assert EVOLVED.param_counts(config).total == 216_254_976
    macs = EVOLVED.forward_macs(config, 512, 114)
    assert round(128 * (macs.body + macs.logits + macs.lookup) / 1e12, 2) == 10.23


@pytest.mark.parametrize(
    ("heads", "capped", "parallel"),
    [(4, False, 8), (12, False, 24), (4, True, 8), (12, True, 16), (32, True, 32)],
)
def test_heads_of_parallel_attention(heads, capped, parallel):
    config = config_of("evolved-base", num_heads=heads, cap_parallel_heads=capped)
    assert config.parallel_heads == parallel


@pytest.mark.slow
def test_options_are_counted():
    # `count` raises where closed form and built model disagree.
    options = {
        "num_heads": 12,
        "cap_parallel_heads": True,
        "num_kv_heads": 1,
        "shared_kv": True,
        "norm": "layer",
        "decoder_ffn_activation": "gated-swish",
    }
    lengths = {"batch_size": 2, "encoder_length": 11, "decoder_length": 5}
    models.counts.count("evolved-EL4-DL2-PI", **lengths, **options)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"num_kv_heads": 1, "shared_kv": True}])
def test_cells_decode_as_they_are_forced(options):
    """Two scanned cells, over more positions than the convolutions reach."""
    model = models.build("evolved-EL2-DL4-PI", **PLAIN, scan_layers=True, **options)
    params = jax.jit(model.init)(jax.random.key(0))
    params = models.stack_params(params)
    inputs = every.encoder_tokens().at[1, 8:].set(0)
    drawn = jax.random.randint(jax.random.key(9), (2, LENGTH), 2, 64)
    decoder = drawn.at[:, 0].set(0)
    cache = every.assert_decodes_as_taught(model, params, inputs, decoder, atol=5e-5)
    (self_state, _), buffers = (
        cache["layers"][name] for name in ("parallel_attention", "conv")
    )
    heads = options.get("num_kv_heads", 4)
    assert self_state[0].shape == (2, 2, LENGTH, heads, 16)
    assert [leaf.shape for leaf in buffers] == [(2, 2, 10, 32), (2, 2, 6, 64)]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("NL3-PI", {}, "num_encoder_layers: must be even, as a cell stands for two"),
        ("EL2-DL5-PI", {}, "num_decoder_layers: must be even, .* got 5"),
        ("DM33-PI", {}, "d_model: must be even, as a convolution"),
        ("PI", {"decoder_ffn_activation": "no"}, "decoder_ffn_activation: unknown"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(models.ConfigError, match=message):
        models.build(f"evolved-{name}", **options)
