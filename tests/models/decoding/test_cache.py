"""Selecting rows of the state of any architecture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.models import decoding
from clinometer.tests.models import every_architecture as every
from clinometer.tests.models.decoding import architectures
from clinometer.tests.models.decoding import toy

ENCODER, DECODER = every.encoder_tokens(), every.decoder_tokens()


def test_axes_and_rows_of_the_toy():
    model = toy.Toy(vocab_size=5)
    encoded = model.encode(model.params, jnp.array([[3, 1], [4, 1], [5, 1]]))
    axes = decoding.row_axes(model, model.params, encoded, 4)
    assert axes == {"layers": (0, 1), "mean": -1, "index": -1}
    cache = model.init_cache(model.params, encoded, 4)
    _, cache = model.decode_step(model.params, cache, jnp.array([6, 7, 8]))
    taken = decoding.take_rows(cache, axes, jnp.array([2, 0, 0, 1]))
    assert taken["layers"][0].tolist() == [6, 4, 4, 5]
    assert taken["layers"][1][0, :, 0].tolist() == [9, 7, 7, 8]
    assert taken["layers"][1].shape == (1, 4, 4)
    assert taken["mean"].shape == (2,)
    assert taken["index"] == 1


def test_a_leaf_that_mixes_rows_with_something_else_is_an_error():
    class Mixing(toy.Toy):
        def init_cache(self, params, encoded, max_decode_length):
            cache = super().init_cache(params, encoded, max_decode_length)
            return {**cache, "mean": jnp.zeros((2 * encoded.memory.shape[0],))}

    model = Mixing(vocab_size=5)
    encoded = model.encode(model.params, jnp.array([[3, 1]]))
    with pytest.raises(ValueError, match=r"\['mean'\] .* \(2,\) for 1 rows and \(4,\)"):
        decoding.row_axes(model, model.params, encoded, 4)


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(
            example,
            marks=[] if example in architectures.OWN_STATES else [pytest.mark.slow],
        )
        for example in architectures.EXAMPLES
    ],
    ids=lambda example: example.label,
)
def test_axes_of_every_architecture(example):
    """The first axis is layers, the second rows; programs are only traced."""
    model = example.build()
    params = jax.eval_shape(model.init, jax.random.key(0))
    encoded = jax.eval_shape(model.encode, params, ENCODER)
    axes = decoding.row_axes(model, params, encoded, every.T)
    assert axes.pop("segments") == 0
    assert axes.pop("index") == -1
    layers = axes["layers"]
    if example.options.get("recurrence") == "highway":
        assert layers.pop("mode") == -1  # A mean over rows that is not used.
    leaves = jax.tree.leaves(layers)
    assert leaves
    assert set(leaves) == {1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "example", architectures.EXAMPLES, ids=lambda example: example.label
)
def test_rows_go_on_where_they_were_taken(example):
    model = example.build()
    params = architectures.draw_params(model)
    rows = jnp.array([1, 0, 1])

    @jax.jit
    def logits(params):
        encoded = model.encode(params, ENCODER)
        axes = decoding.row_axes(model, params, encoded, every.T)
        cache = model.init_cache(params, encoded, every.T)
        for place in range(3):
            _, cache = model.decode_step(params, cache, DECODER[:, place])
        taken = decoding.take_rows(cache, axes, rows)
        late, _ = model.decode_step(params, cache, DECODER[:, 3])
        early, _ = model.decode_step(params, taken, DECODER[rows, 3])
        return late[rows], early

    want, got = logits(params)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=3e-5)
    assert not np.allclose(got[0], got[1], atol=1e-3)
