"""Samples have the requested distribution and do not depend on the batch."""

import functools
import math

import jax
import numpy as np
import pytest

from clinometer.models import decoding
from clinometer.tests.models.decoding import toy

KEY = jax.random.key(3)
NUM_ROWS = 4000
VOCAB_SIZE = 6
# Quantile 0.999 of chi-squared with 1, 2, ... degrees of freedom.
CHI_SQUARED = (10.83, 13.82, 16.27, 18.47, 20.52)
INPUTS = np.ones((2, 1), np.int32)
MODEL = toy.Toy(VOCAB_SIZE, seed=5, scale=1.0)


@functools.cache
def first_tokens(**options):
    inputs = np.full((NUM_ROWS, 1), 7, np.int32)
    run = jax.jit(
        lambda params: decoding.sample(MODEL, params, inputs, 1, KEY, **options)
    )
    return np.asarray(run(MODEL.params).tokens)[:, 0]


def expected(temperature=1.0, top_k=0, top_p=1.0):
    """Returns the distribution by its definition, token by token."""
    logits = MODEL.log_probs([7])([()])[0] / temperature
    order = np.argsort(-logits)
    allowed = order[: top_k or VOCAB_SIZE]
    weights = np.exp(logits[allowed])
    weights /= weights.sum()
    count = next(n for n in range(1, 99) if weights[:n].sum() >= top_p - 1e-12)
    result = np.zeros(VOCAB_SIZE)
    result[allowed[:count]] = weights[:count] / weights[:count].sum()
    return result


@pytest.mark.parametrize(
    ("options", "support"),
    [
        ({"temperature": 0.7}, 6),
        ({"top_p": 0.7}, 2),
        ({"temperature": 2.0, "top_k": 4, "top_p": 0.8}, 3),
    ],
)
def test_frequencies(options, support):
    want = expected(**options)
    assert np.count_nonzero(want) == support
    tokens = first_tokens(**options)
    counts = np.bincount(tokens, minlength=VOCAB_SIZE)
    assert (counts[want == 0] == 0).all()

    def chi_squared(want):
        used = want > 0
        wanted = NUM_ROWS * want[used]
        return ((counts[used] - wanted) ** 2 / wanted).sum()

    bound = CHI_SQUARED[np.count_nonzero(want) - 2]
    assert chi_squared(want) < bound
    # The bound is tight: it is exceeded if 1/20 of the draws go to another token.
    other = want.copy()
    other[want.argmax()] -= 0.05
    other[np.where(want > 0, want, 9).argmin()] += 0.05
    assert chi_squared(other) > bound


@pytest.mark.slow
def test_the_least_probability_leaves_the_likeliest():
    likeliest = MODEL.log_probs([7])([()])[0].argmax()
    assert (first_tokens(top_p=1e-6) == likeliest).all()


@jax.jit
def sample_four(params, inputs, rows, key):
    return decoding.sample(MODEL, params, inputs, 8, key, rows, top_k=5)


def test_a_row_is_the_same_in_any_batch():
    inputs, rows = np.array([[7], [8], [9], [7]]), np.array([10, 11, 12, 13])
    whole = sample_four(MODEL.params, inputs, rows, KEY)
    order = np.array([3, 1, 0, 2])
    other = sample_four(MODEL.params, inputs[order], rows[order], KEY)
    np.testing.assert_array_equal(other.tokens, np.asarray(whole.tokens)[order])
    np.testing.assert_array_equal(other.scores, np.asarray(whole.scores)[order])
    # In a batch of other rows.
    inputs[1], rows[1] = 30, 99
    other = sample_four(MODEL.params, inputs, rows, KEY)
    changed = (np.asarray(other.tokens) != whole.tokens).any(1)
    assert changed.tolist() == [False, True, False, False]
    # Other rows and other keys give other draws.
    assert (np.asarray(whole.tokens)[0] != np.asarray(whole.tokens)[3]).any()
    other = sample_four(MODEL.params, inputs, rows, jax.random.key(4))
    assert (np.asarray(other.tokens) != whole.tokens).any()


def test_scores_are_of_the_model_as_it_is():
    inputs = np.array([[7], [8], [9], [11]])
    got = sample_four(MODEL.params, inputs, np.arange(4), KEY)
    assert got.scores.dtype == np.float32
    for row in range(4):
        tokens = got.tokens[row].tolist()
        if toy.EOS in tokens:
            tokens = tokens[: tokens.index(toy.EOS) + 1]
        want = toy.likelihood(MODEL.log_probs(inputs[row].tolist()), tokens)
        np.testing.assert_allclose(got.scores[row], want, rtol=1e-5)


def test_draws_differ_from_step_to_step():
    """The distribution is the same in all steps, so that only the noise differs."""
    flat = np.zeros_like(MODEL.params["toy"]["table"])
    flat[:, toy.EOS] = -99.0
    inputs = np.ones((4, 1), np.int32)
    got = sample_four({"toy": {"table": flat}}, inputs, np.arange(4), KEY)
    assert all(len(set(row)) > 2 for row in got.tokens.tolist())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"temperature": 0.0},
            "temperature: must be at least 1e-06 .* got 0.0; use gr",
        ),
        ({"temperature": 1e-40}, "temperature: must be at least 1e-06 .* got 1e-40"),
        ({"temperature": math.nan}, "temperature: .* finite, got nan"),
        ({"temperature": math.inf}, "temperature: .* finite, got inf"),
        ({"top_p": math.nan}, r"top_p: must lie in \(0, 1\], got nan"),
        ({"top_p": 0.0}, r"top_p: must lie in \(0, 1\], got 0.0"),
        ({"top_p": 1.1}, r"top_p: must lie in \(0, 1\], got 1.1"),
        ({"top_k": -1}, r"top_k: must lie in \[0, 6\], .* got -1"),
        ({"top_k": 7}, r"top_k: must lie in \[0, 6\], .* got 7"),
    ],
)
def test_bad_options_are_errors(options, message):
    with pytest.raises(ValueError, match=f"sample: {message}"):
        jax.eval_shape(
            lambda params: decoding.sample(MODEL, params, INPUTS, 3, KEY, **options),
            MODEL.params,
        )
