"""The Performer's options and counts."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.models.architectures import registry
from clinometer.models.layers import positions
from clinometer.tests.models import every_architecture as every

ENCODER, DECODER = every.encoder_tokens(), every.decoder_tokens()


def macs(name, **options):
    """Returns the papers' multiply-adds for 128 examples of 114 targets."""
    config = registry.build(name, **options).config
    closed = registry.ARCHITECTURES["performer"].forward_macs(config, 512, 114)
    return 128 * (closed.body + closed.logits + closed.lookup)


def test_counts_are_as_specified():
    def params(name):
        config = registry.build(name).config
        architecture = registry.ARCHITECTURES[name.partition("-")[0]]
        return architecture.param_counts(config).total

    assert params("performer-base") == params("transformer-base") - 64 * 12
    assert round(macs("performer-base") / 1e12, 2) == 10.51
    linear = macs("performer-base", linear_cross_attention=True)
    assert round(linear / 1e12, 2) == 10.42


def test_sinusoids_are_the_formula_s():
    got = positions.sinusoids(5, 3, 6)
    for row, position in enumerate((5, 6, 7)):
        for channel in range(3):
            angle = position / 10_000 ** (channel / 3)
            assert got[row, channel] == pytest.approx(math.sin(angle), abs=1e-5)
            assert got[row, 3 + channel] == pytest.approx(math.cos(angle), abs=1e-5)
    assert positions.sinusoids(0, 4, 7).shape == (4, 7)


@pytest.mark.parametrize(
    "options",
    [
        {"linear_cross_attention": True, "num_kv_heads": 1},
        pytest.param({"performer_pos": "learned"}, marks=pytest.mark.slow),
        pytest.param({"performer_pos": "none"}, marks=pytest.mark.slow),
    ],
)
def test_options_decode_as_they_are_taught(options):
    example = every.Example("performer-pico", options)
    model, params = example.build(), example.params()
    inputs = ENCODER.at[1, 8:].set(0)
    cache = every.assert_decodes_as_taught(model, params, inputs, DECODER)
    # The state of self- and linear cross-attention does not grow with the length.
    if model.config.linear_cross_attention:
        shapes = {leaf.shape for leaf in jax.tree.leaves(cache["layers"])}
        assert shapes == {(2, every.B, 2, 16, 16), (2, every.B, 2, 16)}


def test_without_positions_the_encoder_is_permutation_equivariant():
    example = every.Example("performer-pico", {"performer_pos": "none"})
    model, params = example.build(), example.params()
    order = np.random.default_rng(0).permutation(every.S)
    encode = jax.jit(model.encode)
    straight = encode(params, ENCODER).memory
    permuted = encode(params, ENCODER[:, order]).memory
    np.testing.assert_allclose(permuted, straight[:, order], atol=2e-5)
    sinusoid = every.Example("performer-pico").build()
    with_positions = jax.jit(sinusoid.encode)
    assert not np.allclose(
        with_positions(params, ENCODER[:, order]).memory,
        with_positions(params, ENCODER).memory[:, order],
        atol=1e-2,
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"performer_pos": "rotary"},
            "performer_pos: unknown 'rotary'; accepted: none",
        ),
        ({"kernel_epsilon": 0.0}, "kernel_epsilon: must be positive"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(models.ConfigError, match=words):
        models.build("performer-pico", **options)


def test_a_sequence_beyond_the_learned_table_is_refused():
    example = every.Example(
        "performer-pico", {"performer_pos": "learned", "max_length": 8}
    )
    model = example.build()
    with pytest.raises(ValueError, match="length 12 exceeds max_length, 8"):
        jax.eval_shape(
            model.apply,
            jax.eval_shape(model.init, jax.random.key(0)),
            jnp.zeros((1, 12), jnp.int32),
            jnp.zeros((1, 4), jnp.int32),
        )
