"""Invariants of the vanilla Transformer, spec §1.11, and equality of its forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models

SMALL = {"vocab_size": 64, "dropout_rate": 0.1}


# The options that change which parameters there are.
SHAPING = ("num_kv_heads", "shared_kv", "tie_embeddings")


@functools.cache
def draw(**shaping):
    model = models.build("transformer-EL2-DL2-PI", **SMALL, **shaping)
    return jax.jit(model.init)(jax.random.key(0))


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


def test_logits_depend_on_no_later_target():
    model, params = make()

    def logits_of(embedded_noise):
        table = params["token_embedding"]["table"]
        # One private embedding row a position, so that gradients tell positions apart.
        rows = jnp.concatenate([table, embedded_noise])
        private = {**params, "token_embedding": {"table": rows}}
        wide = models.build("transformer-EL2-DL2-PI", vocab_size=71, dropout_rate=0.0)
        ids = jnp.arange(64, 71)[None]
        logits = apply(
            wide, private, ENCODER[:1], ids, decoder_segment_ids=jnp.ones_like(ids)
        )
        return logits[0, :, :64].sum(-1)

    jacobian = jax.jacobian(logits_of)(jax.random.normal(jax.random.key(5), (7, 32)))
    influence = np.abs(jacobian).sum(-1)  # [position of the logits, of the token]
    assert (influence[np.triu_indices(7, 1)] == 0).all()
    assert (influence[np.tril_indices(7)] > 0).all()


@pytest.mark.parametrize("options", [{}, {"num_kv_heads": 1}, {"shared_kv": True}])
@pytest.mark.parametrize("scan", [False, True])
def test_decoding_step_by_step_equals_teacher_forcing(options, scan):
    model, params = make(scan_layers=scan, **options)
    encoder_tokens = ENCODER.at[1, 8:].set(0)
    forced = apply(model, params, encoder_tokens, DECODER)
    encoded = encode(model, params, encoder_tokens)
    cache = model.init_cache(params, encoded, DECODER.shape[1])
    step = jax.jit(model.decode_step)
    for t in range(DECODER.shape[1]):
        logits, cache = step(params, cache, DECODER[:, t])
        np.testing.assert_allclose(logits, forced[:, t], rtol=1e-4, atol=2e-5)
    assert not np.allclose(logits, forced[:, t - 1], atol=1e-2)


def test_initial_logits_have_unit_deviation():
    model = models.build("transformer-mini", vocab_size=2048, dropout_rate=0.0)
    params = jax.jit(model.init)(jax.random.key(3))
    wide = tokens(4, (4, 16))
    assert abs(apply(model, params, wide, wide).std() - 1) < 0.1


def test_initialisation_depends_on_key_and_name_only():
    shallow, params = make()
    deep = models.build("transformer-NL3-PI", **SMALL)
    deep_params = jax.jit(deep.init)(jax.random.key(0))
    for module, leaves in params.items():
        for name, leaf in leaves.items():
            np.testing.assert_array_equal(leaf, deep_params[module][name])
    first, second = (
        deep_params[f"encoder/layer_{i}/feed_forward"]["wi"] for i in (0, 1)
    )
    assert not np.allclose(first, second)
    other = jax.jit(shallow.init)(jax.random.key(1))
    assert not np.allclose(
        other["token_embedding"]["table"], params["token_embedding"]["table"]
    )


def loss_and_gradients(model, params, dropout_key):
    def loss(params):
        logits = apply(model, params, ENCODER, DECODER, dropout_key=dropout_key)
        return models.loss.cross_entropy(logits, DECODER, 1e-4).loss_sum

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.mark.parametrize(
    ("scan", "remat"), [(True, False), (False, True), (True, True)]
)
def test_every_form_gives_one_loss_and_gradient(scan, remat):
    key = jax.random.key(11)
    model, params = make()
    want_loss, want = loss_and_gradients(model, params, key)
    model, params = make(scan_layers=scan, remat=remat)
    loss, gradients = loss_and_gradients(model, params, key)
    np.testing.assert_allclose(loss, want_loss, rtol=1e-5)
    gradients = models.unstack_params(gradients)
    assert gradients.keys() == want.keys()
    for module, leaves in want.items():
        for name, leaf in leaves.items():
            scale = float(jnp.abs(leaf).max())
            assert scale > 0, f"{module}/{name} has no gradient"
            np.testing.assert_allclose(
                gradients[module][name], leaf, rtol=1e-3, atol=1e-5 * scale
            )
    # The draws of dropout matter: another key, another loss.
    other, _ = loss_and_gradients(model, params, jax.random.key(12))
    assert not np.allclose(other, want_loss, rtol=1e-5)


def test_padding_changes_no_real_position():
    model, params = make()
    short = apply(model, params, ENCODER, DECODER)
    more = jnp.pad(ENCODER, ((0, 0), (0, 5)))
    padded = apply(model, params, more, jnp.pad(DECODER, ((0, 0), (0, 3))))
    np.testing.assert_allclose(padded[:, :7], short, rtol=1e-4, atol=1e-5)
    longer = jnp.pad(ENCODER, ((0, 0), (0, 5)), constant_values=9)
    assert not np.allclose(apply(model, params, longer, DECODER), short, atol=1e-2)
    assert (encode(model, params, more).memory[:, 12:] == 0).all()


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


def test_bfloat16_computes_near_float32_on_float32_parameters():
    model, params = make(dropout_rate=0.0)
    half, half_params = make(dropout_rate=0.0, dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(half_params)} == {jnp.float32.dtype}
    want = apply(model, params, ENCODER, DECODER)
    got = apply(half, half_params, ENCODER, DECODER)
    assert got.dtype == jnp.float32
    error = np.abs(got - want).max()
    # bfloat16 has 8 bits of mantissa; the logits have deviation 1.
    assert 1e-6 < error < 0.15
    _, gradients = loss_and_gradients(half, half_params, None)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.float32.dtype}


def test_untied_logits_have_a_matrix_of_their_own():
    model, params = make(tie_embeddings=False)
    assert params["logits"]["kernel"].shape == (32, 64)
    base = apply(model, params, ENCODER, DECODER)
    doubled = {**params, "logits": {"kernel": params["logits"]["kernel"] * 2}}
    np.testing.assert_allclose(
        apply(model, doubled, ENCODER, DECODER), 2 * base, rtol=1e-5
    )
    assert "logits" not in make()[1]


def test_dropout_masks_can_be_drawn_for_every_position():
    model, params = make(broadcast_dropout=False)
    shared_model, _ = make()
    key = jax.random.key(0)
    own = apply(model, params, ENCODER, DECODER, dropout_key=key)
    shared = apply(shared_model, params, ENCODER, DECODER, dropout_key=key)
    assert np.isfinite(own).all()
    assert not np.allclose(own, shared)
