"""Properties of every architecture, tested on one table of small models."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.tests.models import every_architecture as every

ENCODER, DECODER = every.encoder_tokens(), every.decoder_tokens()
KEY = jax.random.key(7)  # of dropout

all_examples = pytest.mark.parametrize(
    "example", every.EXAMPLES, ids=lambda example: example.label
)
# These compile longer: the fast tests run the first example only.
all_examples_slowly = pytest.mark.parametrize(
    "example",
    [
        pytest.param(example, marks=[pytest.mark.slow] if index else [])
        for index, example in enumerate(every.EXAMPLES)
    ],
    ids=lambda example: example.label,
)


def test_the_table_holds_every_architecture():
    assert set(models.ARCHITECTURES) == every.ARCHITECTURE_EXAMPLES


@all_examples
def test_logits_at_initialisation(example):
    """Shape and dtype, under jit; all positions and rows differ."""
    params = example.params()
    logits = example.apply()(params, ENCODER, DECODER)
    assert logits.shape == (every.B, every.T, every.VOCAB_SIZE)
    assert logits.dtype == jnp.float32
    flat = np.asarray(logits).reshape(-1, every.VOCAB_SIZE)
    assert np.isfinite(flat).all()
    assert len(np.unique(flat.round(5), axis=0)) == every.B * every.T
    leaves = jax.tree.leaves(params)
    assert {leaf.dtype for leaf in leaves} == {jnp.float32.dtype}
    options = {"vocab_size": every.VOCAB_SIZE, **example.options}
    counted = models.counts.count(
        example.name, encoder_length=every.S, trace=False, **options
    )
    assert counted.params_total == sum(leaf.size for leaf in leaves)


@all_examples_slowly
def test_every_parameter_has_a_gradient(example):
    loss, gradients = loss_and_gradients(example, dropout_rate=0.0)
    assert np.isfinite(loss)
    for module, leaves in gradients.items():
        for name, leaf in leaves.items():
            path = f"{module}/{name}"
            assert np.isfinite(leaf).all(), path
            has_none = any(piece in path for piece in example.no_gradient)
            assert (np.abs(leaf).max() > 0) != has_none, path


@functools.cache
def loss_and_gradients(example, dropout_rate):
    """Returns them for layers in a loop."""
    model = example.build(dropout_rate=dropout_rate)
    function = jax.jit(jax.value_and_grad(every.objective(model)))
    return function(example.params(), KEY)


@all_examples_slowly
def test_scanned_and_recomputed_layers_equal_the_loop(example):
    want_loss, want = loss_and_gradients(example, dropout_rate=0.1)
    model = example.build(dropout_rate=0.1, scan_layers=True, remat="layer")
    loss, gradients = jax.jit(jax.value_and_grad(every.objective(model)))(
        models.stack_params(example.params()), KEY
    )
    np.testing.assert_allclose(loss, want_loss, rtol=1e-5)
    every.assert_trees_close(models.unstack_params(gradients), want, 1e-3, 1e-4)
    # Dropout has an effect: the loss without it differs.
    assert not np.allclose(every.objective(example.build())(example.params()), loss)


@all_examples_slowly
def test_bfloat16_computes_near_float32(example):
    half = example.build(dtype="bfloat16")
    want = example.apply()(example.params(), ENCODER, DECODER)
    got = jax.jit(half.apply)(example.params(), ENCODER, DECODER)
    assert got.dtype == jnp.float32
    error = float(jnp.sqrt(jnp.mean(jnp.square(got - want))) / jnp.std(want))
    assert 1e-6 < error < 0.1


@all_examples
def test_padding_changes_no_real_position(example):
    apply, params = example.apply(), example.params()
    longer = jnp.pad(ENCODER, ((0, 0), (0, 4)))
    if example.fixed_length:
        with pytest.raises(ValueError, match="length"):
            apply(params, longer, DECODER)
        return
    short = apply(params, ENCODER, DECODER)
    padded = apply(params, longer, jnp.pad(DECODER, ((0, 0), (0, 3))))
    np.testing.assert_allclose(padded[:, : every.T], short, rtol=1e-4, atol=2e-5)
    words = jnp.pad(ENCODER, ((0, 0), (0, 4)), constant_values=9)
    changed = apply(params, words, jnp.pad(DECODER, ((0, 0), (0, 3))))
    assert not np.allclose(changed[:, : every.T], short, atol=1e-3)


@all_examples_slowly
def test_packed_examples_see_each_other_where_it_is_said(example):
    segments = [np.repeat([[1, 2]], n, axis=1)[:, -m:] for n, m in ((6, 12), (4, 7))]

    @jax.jit
    def second(params, inputs, outputs):
        """Returns the logits of the second example, the last four outputs."""
        logits = example.build().forward(
            params,
            jnp.concatenate([inputs, ENCODER[:1, 6:]], axis=1),
            jnp.concatenate([outputs, DECODER[:1, 3:]], axis=1),
            encoder_segment_ids=jnp.asarray(segments[0]),
            decoder_segment_ids=jnp.asarray(segments[1]),
        )
        return logits.logits[:, 3:]

    one, other = (
        second(example.params(), inputs[:1, :6], outputs[:1, :3])
        for inputs, outputs in (
            (ENCODER, DECODER),
            (every.encoder_tokens(8), every.decoder_tokens(9)),
        )
    )
    same = np.allclose(one, other, rtol=1e-4, atol=2e-5)
    assert same == models.ARCHITECTURES[example.name.partition("-")[0]].packs


@all_examples_slowly
def test_no_gradient_comes_from_a_later_target(example):
    # Each position has its own row of the table, so that gradients of positions can be
    # told apart. A copy of the rows that is never an input gets the same gradient as an
    # output of normalised logits, which is subtracted.
    start, end = every.VOCAB_SIZE, every.VOCAB_SIZE + every.T
    wide = example.build(vocab_size=end + every.T)
    ids = jnp.arange(start, end)[None]
    params = wide.init(jax.random.key(0))
    embedding = params["token_embedding"]
    table = embedding["table"]
    table = table.at[end:].set(table[start:end])

    def influence(position):
        def logit_sum(table):
            logits = wide.apply(
                {**params, "token_embedding": {**embedding, "table": table}},
                ENCODER[:1],
                ids,
                decoder_segment_ids=jnp.ones_like(ids),
            )
            # With tied tables, exclude the rows of the positions themselves.
            return jnp.sum(logits[0, position, :start])

        gradient = jax.grad(logit_sum)(table)
        return jnp.abs(gradient[start:end] - gradient[end:]).sum(-1)

    got = np.asarray(jax.jit(jax.vmap(influence))(jnp.arange(every.T)))
    # Exactly zero, except for the rounding of the difference.
    rounding = 1e-6 * got.max() if example.normalises else 0.0
    assert (got[np.triu_indices(every.T, 1)] <= rounding).all()
    assert (got[np.diag_indices(every.T)] > 0).all()
    assert (got[1:, 0] > 0).all()


@all_examples
@pytest.mark.parametrize("scan", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_decoding_step_by_step_equals_teacher_forcing(example, scan):
    model, params = example.build(scan_layers=scan), example.params()
    if scan:
        params = models.stack_params(params)
    inputs = ENCODER if example.fixed_length else ENCODER.at[1, 8:].set(0)
    forced = None if scan else example.apply()(params, inputs, DECODER)
    every.assert_decodes_as_taught(model, params, inputs, DECODER, forced)


@all_examples_slowly
def test_closed_forms_equal_the_built_model_and_its_jaxpr(example):
    # Raises CountError if they differ.
    got = models.counts.count(
        example.name,
        batch_size=every.B,
        encoder_length=every.S,
        decoder_length=every.T,
        vocab_size=every.VOCAB_SIZE,
        **example.options,
    )
    sizes = [leaf.size for leaf in jax.tree.leaves(example.params())]
    assert got.params_total == sum(sizes)
    assert got.params_active <= got.params_total
    assert got.flops_forward_executed > 0
    assert got.flops_train_step_executed > 2 * got.flops_forward_executed


@all_examples_slowly
def test_health_is_finite_and_named_by_its_place(example):
    model = example.build()
    outputs = jax.jit(
        lambda params: model.forward(params, ENCODER, DECODER, collect_health=True)
    )(example.params())
    assert outputs.auxiliary_loss.shape == ()
    for name, value in outputs.health.items():
        assert name.startswith(("encoder/", "decoder/"))
        assert np.isfinite(value).all(), name
        if name.endswith("/entropy"):
            most = np.log(max(every.S, every.T))
            assert (value > 0).all() and (value <= most + 1e-5).all(), name
    assert any(name.startswith("decoder/") for name in outputs.health)
