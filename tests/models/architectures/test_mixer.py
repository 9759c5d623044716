"""The Mixer against float64 NumPy, its invariants, counts and input length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.models.architectures import registry
from clinometer.tests.models import every_architecture as every

ENCODER, DECODER = every.encoder_tokens(), every.decoder_tokens()
EXAMPLE = every.Example("mixer-pico", {"sequence_length": every.S, "mixing_width": 8})
BIASED = every.Example(
    "mixer-pico", {**EXAMPLE.options, "mixing_bias": True, "num_encoder_layers": 1}
)


def gelu(x):
    return 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))


def rms(x, scale):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale


def encode(params, tokens, num_layers):
    """Runs the encoder of ARCHITECTURES.md#mlp-mixer in float64."""
    w = {
        module: {name: np.asarray(leaf, np.float64) for name, leaf in leaves.items()}
        for module, leaves in params.items()
    }
    real = (np.asarray(tokens) != 0)[..., None]
    x = w["token_embedding"]["table"][np.asarray(tokens)]
    for layer in range(num_layers):
        here = f"encoder/layer_{layer}"
        mixing = w[f"{here}/token_mixing"]
        y = (rms(x, w[f"{here}/token_mixing_norm"]["scale"]) * real).transpose(0, 2, 1)
        hidden = gelu(y @ mixing["wi"] + mixing.get("wi_bias", 0))
        x = x + (hidden @ mixing["wo"] + mixing.get("wo_bias", 0)).transpose(0, 2, 1)
        y = rms(x, w[f"{here}/feed_forward_norm"]["scale"]) * real
        network = w[f"{here}/feed_forward"]
        x = x + np.maximum(y @ network["wi"], 0) @ network["wo"]
    return rms(x, w["encoder/final_norm"]["scale"]) * real


@pytest.mark.parametrize("example", [EXAMPLE, BIASED], ids=["plain", "biased"])
def test_encoder_equals_the_definition(example):
    params = dict(example.params())
    if example is BIASED:
        for name in ("wi_bias", "wo_bias"):
            module = dict(params["encoder/layer_0/token_mixing"])
            assert (module[name] == 0).all()
            module[name] = jax.random.normal(jax.random.key(5), module[name].shape)
            params["encoder/layer_0/token_mixing"] = module
    tokens = ENCODER.at[1, 8:].set(0)
    model = example.build()
    memory = jax.jit(model.encode)(params, tokens).memory
    want = encode(params, tokens, model.config.num_encoder_layers)
    np.testing.assert_allclose(memory, want, rtol=1e-4, atol=1e-5)
    assert (memory[1, 8:] == 0).all()


def test_mixing_reaches_every_position_and_knows_their_order():
    one_layer = every.Example("mixer-EL1-PI", EXAMPLE.options)
    params = {
        name: leaves
        for name, leaves in EXAMPLE.params().items()
        if not name.startswith("encoder/layer_1")
    }
    order = jnp.roll(jnp.arange(every.S), 1)
    changed = ENCODER.at[:, 3].set((ENCODER[:, 3] + 1) % 62 + 2)
    quiet = dict(params["encoder/layer_0/token_mixing"])
    quiet["wo"] = jnp.zeros_like(quiet["wo"])
    quiet = {**params, "encoder/layer_0/token_mixing": quiet}
    encode = jax.jit(one_layer.build().encode)
    base = encode(params, ENCODER).memory
    # One token changes all outputs after one layer.
    assert (np.abs(encode(params, changed).memory - base).max(-1) > 1e-5).all()
    assert not np.allclose(encode(params, ENCODER[:, order]).memory, base[:, order])
    # Without token mixing, positions do not influence each other.
    alone = encode(quiet, ENCODER).memory
    got = encode(quiet, ENCODER[:, order]).memory
    np.testing.assert_allclose(got, alone[:, order], rtol=1e-5, atol=1e-6)


def test_padding_has_no_content():
    """The embedding at a padded position has no influence."""
    model, params = EXAMPLE.build(), EXAMPLE.params()
    segments = jnp.ones_like(ENCODER).at[:, 8:].set(0)
    forward = jax.jit(model.forward)
    got = [
        forward(params, tokens, DECODER, encoder_segment_ids=segments).logits
        for tokens in (ENCODER, ENCODER.at[:, 8:].set(5))
    ]
    np.testing.assert_allclose(got[0], got[1], rtol=1e-5, atol=1e-6)


def test_the_decoder_is_the_vanilla_one():
    def decoder(name, **options):
        model = models.build(name, vocab_size=64, **options)
        shapes = jax.eval_shape(model.init, jax.random.key(0))
        return {k: v for k, v in shapes.items() if k.startswith("decoder")}

    assert decoder("mixer-pico", **EXAMPLE.options) == decoder("transformer-pico")


def test_counts_are_as_specified():
    config = models.build("mixer-base", mixing_width=512).config
    architecture = registry.ARCHITECTURES["mixer"]
    assert round(architecture.param_counts(config).total / 1e6, 1) == 200.9
    macs = architecture.forward_macs(config, 512, 114)
    total = 128 * (macs.body + macs.logits + macs.lookup)
    assert round(total / 1e12, 2) == 9.21


@pytest.mark.parametrize(
    ("size", "width"),
    [("tiny", 256), ("small", 256), ("base", 384), ("large", 512), ("xl", 512)],
)
def test_mixing_widths_are_as_specified(size, width):
    config = models.build(f"mixer-{size}").config
    assert (config.mixing_width, config.sequence_length) == (width, 512)


def test_another_length_is_refused_with_both_lengths():
    message = "sequence_length: this mixer takes inputs of length 12, got 11"
    with pytest.raises(models.ConfigError, match=message):
        EXAMPLE.build().apply(EXAMPLE.params(), ENCODER[:, :11], DECODER)
    with pytest.raises(models.ConfigError, match="length 512, got 128"):
        models.counts.count("mixer-pico", encoder_length=128, sequence_length=512)


def test_counts_are_of_a_mixer_as_long_as_the_input():
    short = models.counts.count("mixer-EL1-DL1-PI", encoder_length=128)
    config = models.build("mixer-EL1-DL1-PI", sequence_length=128).config
    architecture = registry.ARCHITECTURES["mixer"]
    assert short.params_total == architecture.param_counts(config).total


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequence_length": 0}, "sequence_length: must be at least 1"),
        ({"mixing_bias": 1}, "mixing_bias: expected bool"),
    ],
)
def test_bad_options_name_the_field(options, message):
    with pytest.raises(models.ConfigError, match=message):
        models.build("mixer-pico", **options)
