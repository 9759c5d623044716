"""The GLU-Transformer's formula, widths and counts."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.models.architectures import registry
from clinometer.models.layers import sublayers

BATCH = 128


def closed(name, **options):
    config = models.build(name, **options).config
    architecture = registry.ARCHITECTURES["glu"]
    macs = architecture.forward_macs(config, 512, 114)
    total = BATCH * (macs.body + macs.logits + macs.lookup)
    return architecture.param_counts(config).total, total


@pytest.mark.parametrize(
    ("size", "width"),
    [("base", 2048), ("small", 1365), ("large", 2731), ("xl", 10923)],
)
def test_width_is_two_thirds_rounded(size, width):
    """The widths are those of ARCHITECTURES.md#glu-transformer."""
    assert models.build(f"glu-{size}").config.ffn_width == width
    same = models.build(f"glu-{size}", ffn_match="width").config
    assert same.ffn_width == same.d_ff == models.build(f"glu-{size}").config.d_ff


def test_width_follows_the_scaling_operator():
    assert models.build("glu-FF3K-SM").config.ffn_width == 2048


def test_parameters_and_macs_are_the_vanilla_ones_where_two_thirds_is_whole():
    params, macs = closed("glu-base")
    assert params == 222_903_552  # ARCHITECTURES.md#sizes
    vanilla = models.build("transformer-base").config
    architecture = registry.ARCHITECTURES["transformer"]
    want = architecture.forward_macs(vanilla, 512, 114)
    assert macs == BATCH * (want.body + want.logits + want.lookup)


def test_same_width_costs_what_is_specified():
    params, macs = closed("glu-base", ffn_match="width")
    assert round(params / 1e6, 1) == 279.5
    assert round(macs / 1e12, 1) == 13.3


def sublayer(params, x):
    config = models.build("glu-pico", dropout_rate=0.0).config

    def run(x):
        segments = jnp.ones(x.shape[:2], jnp.int32)
        context = sublayers.SublayerContext(segments)
        return sublayers.position_wise(config)(x, context, None)[0]

    return jax.jit(hk.without_apply_rng(hk.transform(run)).apply)(
        {"feed_forward": params}, x
    )


def gelu(x):
    """The tanh approximation, float64."""
    return 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))


def test_sublayer_equals_the_formula():
    rng = np.random.default_rng(0)
    width = 85  # two thirds of 128
    w = {
        "wi_0": rng.normal(size=(32, width)),
        "wi_1": rng.normal(size=(32, width)),
        "wo": rng.normal(size=(width, 32)),
    }
    x = rng.normal(size=(2, 3, 32))
    params = {name: np.float32(leaf) for name, leaf in w.items()}
    want = (gelu(x @ w["wi_0"]) * (x @ w["wi_1"])) @ w["wo"]
    got = sublayer(params, np.float32(x))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
    assert (sublayer(params, np.zeros((2, 3, 32), np.float32)) == 0).all()
    # If the linear half outputs 1, this is a feed-forward network with GELU.
    x[..., 0] = 1
    w["wi_1"] = np.zeros((32, width))
    w["wi_1"][0] = 1
    params["wi_1"] = np.float32(w["wi_1"])
    want = gelu(x @ w["wi_0"]) @ w["wo"]
    got = sublayer(params, np.float32(x))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ffn_activation": "relu"}, "ffn_activation: unknown 'relu'; accepted: gated"),
        ({"ffn_match": "depth"}, "ffn_match: unknown 'depth'; accepted: parameters, w"),
    ],
)
def test_bad_options_name_the_field(options, message):
    with pytest.raises(models.ConfigError, match=message):
        models.build("glu-pico", **options)
