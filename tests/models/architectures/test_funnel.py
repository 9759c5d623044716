"""The Funnel Transformer against its formulas in float64 NumPy, and its counts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.models.architectures import funnel
from clinometer.models.architectures import registry
from clinometer.tests.models import every_architecture as every

DECODER = every.decoder_tokens()
# Two blocks of two layers, so that a layer follows the one that pools.
EXAMPLE = every.Example("funnel-EL4-DL2-PI")
# One row of two packed examples, the first of odd length.
PACKED = np.array([[1] * 5 + [0] * 3, [1] * 3 + [2] * 4 + [0]])
# Rows of odd lengths.
SEGMENTS = np.array([[1] * 5 + [0] * 3, [1] * 7 + [0]])
TOKENS = np.where(SEGMENTS, np.asarray(every.encoder_tokens())[:, :8], 0)


def pool(x, segments, kind, masked):
    """Pools each pair, in float64."""
    y = np.zeros((x.shape[0], x.shape[1] // 2, x.shape[2]))
    for b in range(y.shape[0]):
        for i in range(y.shape[1]):
            pair = [2 * i, 2 * i + 1]
            if masked:
                first = segments[b, 2 * i]
                pair = [s for s in pair if first and segments[b, s] == first]
            if pair:
                function = {"mean": np.mean, "max": np.max, "min": np.min}[kind]
                y[b, i] = function([x[b, s] for s in pair], axis=0)
    return y


def rms(x, params):
    scale = np.asarray(params["scale"], np.float64)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale


def attend(params, name, table, x, segments):
    """Self-attention of a short sequence; distances up to 8 have their own bucket."""
    w = {k: np.asarray(v, np.float64) for k, v in params[name].items()}
    y = rms(x, params[f"{name}_norm"]) * (segments != 0)[..., None]
    shape = (*y.shape[:2], 2, 16)
    q, k, v = ((y @ w[n]).reshape(shape) for n in ("query", "key", "value"))
    away = np.arange(y.shape[1])[None] - np.arange(y.shape[1])[:, None]
    logits = np.einsum("bthk,bshk->bhts", q, k)
    logits += table[:, np.minimum(np.abs(away), 8) + 16 * (away > 0)]
    seen = segments[:, None, :, None] == segments[:, None, None, :]
    weights = np.exp(np.where(seen, logits, -1e9))
    weights /= weights.sum(-1, keepdims=True)
    return x + np.einsum("bhts,bshk->bthk", weights, v).reshape(y.shape) @ w["output"]


def feed_forward(params, x, segments):
    y = rms(x, params["feed_forward_norm"]) * (segments != 0)[..., None]
    w = {k: np.asarray(v, np.float64) for k, v in params["feed_forward"].items()}
    return x + np.maximum(y @ w["wi"], 0) @ w["wo"]


def encode(params, kind, masked):
    """Runs the whole encoder in float64."""

    def layer_params(layer):
        start = f"encoder/{layer}/"
        return {
            module.removeprefix(start): leaves
            for module, leaves in params.items()
            if module.startswith(start)
        }

    table = np.asarray(params["encoder/relative_bias"]["table"], np.float64)
    x = np.asarray(params["token_embedding"]["table"], np.float64)[TOKENS]
    segments = SEGMENTS
    for layer in (
        "block_0/layer_0",
        "block_0/layer_1",
        "block_1/pooling_layer",
        "block_1/layer_0",
    ):
        here = layer_params(layer)
        x = attend(here, "self_attention", table, x, segments)
        if layer.endswith("pooling_layer"):
            x = pool(x, segments, kind, masked)
            segments = segments[:, ::2]
        x = feed_forward(here, x, segments)
    x = rms(x, params["encoder/final_norm"])
    return x * (segments != 0)[..., None], segments


@functools.cache
def encoded(kind, masked):
    model = EXAMPLE.build(pooling=kind, masked_pooling=masked)

    return jax.jit(model.encode)(EXAMPLE.params(), TOKENS)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("kind", funnel.POOLINGS)
def test_pooling_equals_the_definition(kind, masked):
    x = np.random.default_rng(0).normal(size=(2, 8, 3))
    got = funnel.pool(np.float32(x), jnp.asarray(PACKED), kind, masked=masked)
    np.testing.assert_allclose(got, pool(x, PACKED, kind, masked), 1e-6, 1e-6)


@pytest.mark.parametrize(("kind", "masked"), [("mean", True), ("mean", False)])
def test_encoder_equals_the_definition(kind, masked):
    memory, segments = encoded(kind, masked)
    want, want_segments = encode(EXAMPLE.params(), kind, masked)
    np.testing.assert_array_equal(segments, want_segments)
    np.testing.assert_array_equal(segments, [[1, 1, 1, 0], [1, 1, 1, 1]])
    np.testing.assert_allclose(memory, want, rtol=1e-4, atol=1e-5)
    assert (memory[0, 3] == 0).all()


def test_plain_pooling_lets_padding_in():
    """Padding only enters through the last pair of a sequence of odd length."""
    masked, plain = encoded("mean", True).memory, encoded("mean", False).memory
    assert not np.allclose(masked[0, 2], plain[0, 2], atol=1e-3)


def test_packed_examples_do_not_see_each_other():
    """The second example is at an even position, as distances are in pooled units."""
    model, params = EXAMPLE.build(), EXAMPLE.params()
    tokens = every.encoder_tokens()

    def run(params):
        packed = model.forward(
            params,
            jnp.concatenate(
                [tokens[:1, :5], jnp.zeros_like(tokens[:1, :1]), tokens[1:, :4]], 1
            ),
            jnp.concatenate([DECODER[:1], DECODER[1:]], 1),
            encoder_segment_ids=jnp.array([[1] * 5 + [0] + [2] * 4]),
            decoder_segment_ids=jnp.repeat(jnp.array([[1, 2]]), every.T, axis=1),
        )
        lengths = jnp.array([[5], [4]])
        alone = jnp.where(jnp.arange(6)[None] < lengths, tokens[:, :6], 0)
        return packed.logits, model.apply(params, alone, DECODER)

    packed, alone = jax.jit(run)(params)
    packed = packed.reshape(alone.shape)
    np.testing.assert_allclose(packed, alone, rtol=1e-4, atol=2e-5)


def test_one_block_is_the_transformer():
    vanilla = every.Example("transformer-pico")
    params = {
        name.replace("encoder/layer", "encoder/block_0/layer"): leaves
        for name, leaves in vanilla.params().items()
    }
    one = every.Example("funnel-pico", {"num_blocks": 1})
    tokens = every.encoder_tokens()[:, :11]

    def run(params, vanilla_params):
        got = one.build().apply(params, tokens, DECODER)
        return got, vanilla.build().apply(vanilla_params, tokens, DECODER)

    got, want = jax.jit(run)(params, vanilla.params())
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_health_has_an_entry_a_layer():
    model = EXAMPLE.build(scan_layers=True)
    params = jax.eval_shape(models.stack_params, EXAMPLE.params())
    outputs = jax.eval_shape(
        lambda params: model.forward(params, TOKENS, DECODER, collect_health=True),
        params,
    )
    assert outputs.health["encoder/self_attention/entropy"].shape[0] == 4


@pytest.mark.parametrize(
    ("size", "blocks", "trillions"), [("base", 3, 7.76), ("large", 3, 21.8)]
)
def test_macs_are_as_specified_and_parameters_the_vanilla_ones(size, blocks, trillions):
    config = models.build(f"funnel-{size}").config
    assert (config.num_blocks, config.pooled_length(512)) == (blocks, 128)
    architecture = registry.ARCHITECTURES["funnel"]
    macs = architecture.forward_macs(config, 512, 114)
    total = 128 * (macs.body + macs.logits + macs.lookup) / 1e12
    assert round(total, 2 if size == "base" else 1) == trillions
    vanilla = registry.ARCHITECTURES["transformer"]
    want = vanilla.param_counts(models.build(f"transformer-{size}").config)
    assert architecture.param_counts(config) == want


def test_every_size_has_equal_blocks():
    blocks = {s: models.build(f"funnel-{s}").config.num_blocks for s in models.SIZES}
    assert blocks["pico"] == blocks["tiny"] == 2
    assert blocks["small"] == blocks["xl"] == 3
    assert blocks["xxxl"] == 4


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "funnel-EL3-PI",
            {},
            "num_blocks: 2 blocks do not divide num_encoder_layers, 3",
        ),
        ("funnel-NL16-SM", {}, "num_blocks: 3 blocks .* 16"),
        ("funnel-pico", {"pooling": "sum"}, "pooling: unknown 'sum'; accepted: mean"),
        ("funnel-pico", {"num_blocks": 0}, "num_blocks: must be at least 1"),
    ],
)
def test_bad_options_name_the_field(name, options, message):
    with pytest.raises(models.ConfigError, match=message):
        models.build(name, **options)


def test_a_length_that_cannot_be_halved_is_refused():
    message = "encoder length 11: must be a multiple of 2, as 2 blocks"
    with pytest.raises(ValueError, match=message):
        EXAMPLE.build().apply(EXAMPLE.params(), every.encoder_tokens()[:, :11], DECODER)
    config = models.build("funnel-small").config
    with pytest.raises(models.ConfigError, match=r"length 510: .* multiple of 4"):
        registry.ARCHITECTURES["funnel"].forward_macs(config, 510, 114)
