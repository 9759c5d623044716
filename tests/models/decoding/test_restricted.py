"""Decoding excludes the rows that pad an embedding table."""

import jax
import numpy as np
import pytest

from clinometer.models import decoding
from clinometer.tests.models.decoding import toy

SIZE, PADDED = 6, 128
WHOLE = toy.Toy(PADDED, seed=2)
MODEL = decoding.Restricted(WHOLE, SIZE)
INPUTS = np.arange(7, 27, dtype=np.int32)[:, None]
LENGTH = 4


def own_log_probs(row):
    """Returns the distribution over the vocabulary, from the table in float64."""
    table = np.asarray(WHOLE.params["toy"]["table"], np.float64)[:, :SIZE]

    def after(prefixes):
        places = [toy.place(INPUTS[row].tolist(), prefix) for prefix in prefixes]
        return toy.log_softmax(table[places])

    return after


def run(function, model=MODEL):
    return jax.jit(lambda params: function(model, params, INPUTS))(WHOLE.params)


def sampled(model, params, inputs):
    return decoding.sample(model, params, inputs, LENGTH, jax.random.key(0))


def greedy(model, params, inputs):
    return decoding.generate(model, params, inputs, LENGTH)


def beams(model, params, inputs):
    return decoding.beam_search(model, params, inputs, LENGTH, beam_size=3, alpha=0.0)


@pytest.mark.parametrize("function", [sampled, greedy, beams])
def test_no_row_of_padding_is_drawn_and_scores_are_over_the_vocabulary(function):
    assert (run(function, WHOLE).tokens >= SIZE).any()  # Padding is likely otherwise.
    got = run(function)
    assert (got.tokens < SIZE).all()
    for row, tokens in enumerate(got.tokens.tolist()):
        if toy.EOS in tokens:
            tokens = tokens[: tokens.index(toy.EOS) + 1]
        want = toy.likelihood(own_log_probs(row), tokens)
        np.testing.assert_allclose(got.scores[row], want, rtol=1e-5)
        if function is beams:
            best = toy.search(own_log_probs(row), LENGTH, 3, 0.0)
            assert tokens == best.tokens


def test_targets_are_ranked_over_the_vocabulary():
    targets = [[4, 2], [3], [5, 5, 2]]
    packed = decoding.pack_targets(targets, SIZE)
    got = run(lambda *args: decoding.score_targets(*args, packed))
    for row in range(len(INPUTS)):
        after = own_log_probs(row)
        want = [toy.likelihood(after, [*target, toy.EOS]) for target in targets]
        np.testing.assert_allclose(got[row], want, rtol=1e-5)


def test_top_k_counts_the_vocabulary():
    def draw(top_k):
        return run(
            lambda *args: decoding.sample(*args, LENGTH, jax.random.key(0), top_k=top_k)
        )

    assert (draw(SIZE).tokens < SIZE).all()
    with pytest.raises(ValueError, match=r"top_k: must lie in \[0, 6\]"):
        draw(SIZE + 1)


@pytest.mark.parametrize("size", [1, 0, -3, PADDED + 1])
def test_a_vocabulary_that_the_model_does_not_have_is_an_error(size):
    with pytest.raises(ValueError, match=r"must lie in \[2, 128\]"):
        decoding.Restricted(WHOLE, size)
