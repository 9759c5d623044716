"""Invariants of the vanilla Transformer, and equality of scanned and other forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models

SMALL = {"vocab_size": 64, "dropout_rate": 0.1}


# Options that change the set of parameters.
SHAPING = ("num_kv_heads", "shared_kv", "tie_embeddings")


@functools.cache
def draw(**shaping):
    model = models.build("transformer-EL2-DL2-PI", **SMALL, **shaping)
    return model.init(jax.random.key(0))


def make(**options):
    model = models.build("transformer-EL2-DL2-PI", **{**SMALL, **options})
    params = draw(**{name: options[name] for name in SHAPING if name in options})
    return model, models.stack_params(params) if model.config.scan_layers else params


def apply(model, params, *args, **kwargs):
    return jax.jit(model.apply)(params, *args, **kwargs)


def encode(model, params, *args):
    return jax.jit(model.encode)(params, *args)


def tokens(seed=0, shape=(2, 12), start=False):
    drawn = jax.random.randint(jax.random.key(seed), shape, 2, 64)
    return drawn.at[:, 0].set(0) if start else drawn


ENCODER = tokens(1, (2, 12))
DECODER = tokens(2, (2, 7), start=True)


def test_permuting_the_input_permutes_the_memory_without_a_bias():
    model, params = make()
    flat = {**params, "encoder/relative_bias": {"table": jnp.zeros((2, 32))}}
    order = np.random.default_rng(0).permutation(12)
    straight = encode(model, flat, ENCODER).memory
    permuted = encode(model, flat, ENCODER[:, order]).memory
    np.testing.assert_allclose(permuted, straight[:, order], atol=2e-5)
    # With the bias, order matters.
    biased = encode(model, params, ENCODER[:, order]).memory
    assert not np.allclose(biased, encode(model, params, ENCODER).memory[:, order])


def test_initial_logits_have_unit_deviation():
    model = models.build("transformer-milli", vocab_size=2048, dropout_rate=0.0)
    params = model.init(jax.random.key(3))
    wide = tokens(4, (4, 16))
    assert abs(apply(model, params, wide, wide).std() - 1) < 0.1


def test_initialisation_depends_on_key_and_name_only():
    shallow, params = make()
    deep = models.build("transformer-NL3-PI", **SMALL)
    deep_params = deep.init(jax.random.key(0))
    for module, leaves in params.items():
        for name, leaf in leaves.items():
            np.testing.assert_array_equal(leaf, deep_params[module][name])
    first, second = (
        deep_params[f"encoder/layer_{i}/feed_forward"]["wi"] for i in (0, 1)
    )
    assert not np.allclose(first, second)
    other = shallow.init(jax.random.key(1))
    assert not np.allclose(
        other["token_embedding"]["table"], params["token_embedding"]["table"]
    )


def test_memory_is_zero_at_padding():
    model, params = make()
    memory = encode(model, params, ENCODER.at[1, 8:].set(0)).memory
    assert (memory[1, 8:] == 0).all() and (memory[1, :8] != 0).all()


def test_packed_examples_do_not_see_each_other():
    model, params = make()
    encoder = jnp.concatenate([ENCODER[:1], ENCODER[1:]], axis=1)
    decoder = jnp.concatenate([DECODER[:1], DECODER[1:]], axis=1)
    packed = apply(
        model,
        params,
        encoder,
        decoder,
        encoder_segment_ids=jnp.repeat(jnp.array([[1, 2]]), 12, axis=1),
        decoder_segment_ids=jnp.repeat(jnp.array([[1, 2]]), 7, axis=1),
    )
    alone = apply(model, params, ENCODER, DECODER)
    np.testing.assert_allclose(packed[0, :7], alone[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(packed[0, 7:], alone[1], rtol=1e-4, atol=1e-5)


def test_untied_logits_have_a_matrix_of_their_own():
    model, params = make(tie_embeddings=False)
    assert params["logits"]["kernel"].shape == (32, 64)
    base = apply(model, params, ENCODER, DECODER)
    doubled = {**params, "logits": {"kernel": params["logits"]["kernel"] * 2}}
    np.testing.assert_allclose(
        apply(model, doubled, ENCODER, DECODER), 2 * base, rtol=1e-5
    )
    assert "logits" not in make()[1]


@pytest.mark.parametrize("tied", [True, False])
def test_the_scale_of_logits_can_be_set(tied):
    """Without it they are d^1/2 times as large, tied or not."""
    scaled, params = make(tie_embeddings=tied, logits_scaling="always")
    plain, _ = make(tie_embeddings=tied, logits_scaling="never")
    base = apply(scaled, params, ENCODER, DECODER)
    # Both are sums of 32 products of about 1, which processors round differently.
    np.testing.assert_allclose(
        apply(plain, params, ENCODER, DECODER),
        32**0.5 * base,
        rtol=1e-5,
        atol=32 * 2.0**-23,
    )
    default, _ = make(tie_embeddings=tied)
    same = scaled if tied else plain
    np.testing.assert_array_equal(
        apply(default, params, ENCODER, DECODER), apply(same, params, ENCODER, DECODER)
    )


@pytest.mark.slow
def test_dropout_masks_can_be_drawn_for_every_position():
    model, params = make(broadcast_dropout=False)
    shared_model, _ = make()
    key = jax.random.key(0)
    own = apply(model, params, ENCODER, DECODER, dropout_key=key)
    shared = apply(shared_model, params, ENCODER, DECODER, dropout_key=key)
    assert np.isfinite(own).all()
    assert not np.allclose(own, shared)
