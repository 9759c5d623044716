"""The layout of a batch of texts: shifted targets, segments, abstract batches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.models import model as model_lib
from clinometer.models.seq2seq import batch as batch_lib

SHAPE = models.TextShape(7, 5)
PACKED = dataclasses.replace(SHAPE, packed=True)


def _rows(*rows):
    return np.array(rows, np.int32)


def test_the_decoder_sees_the_targets_before():
    made = batch_lib.make(_rows([9, 1]), _rows([5, 6, 1, 0]))
    assert made["decoder_input_tokens"].tolist() == [[0, 5, 6, 1]]


def test_each_packed_example_starts_anew():
    made = batch_lib.make(
        _rows([9, 1, 8, 1]),
        _rows([5, 6, 1, 7, 1, 0]),
        _rows([1, 1, 2, 2]),
        _rows([1, 1, 1, 2, 2, 0]),
    )
    assert made["decoder_input_tokens"].tolist() == [[0, 5, 6, 0, 7, 0]]


@pytest.mark.parametrize("shape", [SHAPE, PACKED])
def test_the_abstract_batch_is_that_of_random_rows(shape):
    made = batch_lib.random(0, 3, shape, vocab_size=11)
    described = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in made.items()
    }
    assert batch_lib.abstract(3, shape) == described
    tokens = made["encoder_input_tokens"]
    assert tokens.shape == (3, 7)
    assert tokens.min() >= 2 and tokens.max() < 11
    again = batch_lib.random(1, 3, shape, vocab_size=11)
    assert not np.array_equal(tokens, again["encoder_input_tokens"])


def test_a_bad_length_is_named():
    with pytest.raises(ValueError, match="decoder_length: must be at least 1, got 0"):
        models.TextShape(7, 0)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_the_loss_of_a_batch_is_that_of_its_logits(scan_layers):
    """Compares with float64 NumPy on the logits; segments separate examples."""
    model = models.build(
        "transformer-NL2-PI", vocab_size=11, d_model=8, d_ff=16, scan_layers=scan_layers
    )
    canonical = jax.jit(model.init)(jax.random.key(0))
    params = model.from_canonical(canonical)
    abstract = model_lib.abstract_params(model)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, abstract)
    made = batch_lib.random(0, 2, SHAPE, vocab_size=11)
    targets = made["decoder_target_tokens"] = (
        made["decoder_target_tokens"].at[1, 3:].set(0)
    )
    outputs = jax.jit(model.loss, static_argnames="z_loss")(params, made, z_loss=0.1)
    logits = np.float64(
        model.apply(params, made["encoder_input_tokens"], made["decoder_input_tokens"])
    )
    log_z = np.log(np.exp(logits).sum(-1))
    picked = np.take_along_axis(logits, np.asarray(targets)[..., None], -1)[..., 0]
    real = np.asarray(targets) != 0
    sums = outputs.sums
    assert sums.loss_sum == pytest.approx(((log_z - picked) * real).sum(), rel=1e-5)
    assert sums.z_loss_sum == pytest.approx(0.1 * (log_z**2 * real).sum(), rel=1e-5)
    assert (sums.weight_sum, outputs.num_targets) == (8, 10)
    segments = made | {
        "encoder_segment_ids": jnp.ones((2, 7), jnp.int32).at[:, 3:].set(2),
        "decoder_segment_ids": jnp.ones((2, 5), jnp.int32),
    }
    assert model.loss(params, segments).sums.loss_sum != sums.loss_sum
