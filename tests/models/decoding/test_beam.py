"""Beam search against enumeration, and against its definition without caches."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.models import decoding
from clinometer.tests.models import every_architecture as every
from clinometer.tests.models.decoding import architectures
from clinometer.tests.models.decoding import toy

INPUTS = jnp.array([[5, 1], [17, 1], [0, 0], [40, 1], [2, 7], [3, 3]])
FILLER = 2  # The row that consists of padding.


@functools.cache
def compiled(vocab_size, length, **options):
    """Returns one compiled program for all tables of the same size."""
    model = toy.Toy(vocab_size)
    return jax.jit(
        lambda params: decoding.beam_search(model, params, INPUTS, length, **options)
    )


def beam_search(model, length, **options):
    function = compiled(model.config.vocab_size, length, **options)
    return jax.tree.map(np.asarray, function(model.params))


@pytest.mark.parametrize(
    "alpha", [0.6, *(pytest.param(a, marks=pytest.mark.slow) for a in (0.0, 2.0))]
)
def test_a_wide_beam_equals_enumeration(alpha):
    vocab_size, length = 4, 4
    model = toy.Toy(vocab_size, scale=1.0)
    # There are enough beams for every prefix and all of their extensions.
    got = beam_search(model, length, beam_size=54, alpha=alpha)
    assert got.scores.dtype == np.float32
    assert got.tokens.dtype == np.int32
    lengths = set()
    for row, inputs in enumerate(INPUTS.tolist()):
        if row == FILLER:
            assert got.tokens[row].tolist() == [0] * length
            assert got.scores[row] == 0
            continue
        tokens, score = toy.best_of_all(
            model.log_probs(inputs), vocab_size, length, alpha
        )
        assert got.tokens[row].tolist() == toy.padded(tokens, length)
        np.testing.assert_allclose(got.scores[row], score, rtol=1e-5)
        lengths.add(len(tokens))
    assert len(lengths) > 1


@pytest.mark.parametrize(("beam_size", "alpha"), [(3, 0.6), (2, 1.5)])
def test_narrow_beams_equal_the_definition(beam_size, alpha):
    length = 8
    model = toy.Toy(vocab_size=7, seed=1)
    got = beam_search(model, length, beam_size=beam_size, alpha=alpha)
    likeliest = beam_search(model, length, beam_size=1, alpha=alpha)
    for row, inputs in enumerate(INPUTS.tolist()):
        if row != FILLER:
            want = toy.search(model.log_probs(inputs), length, beam_size, alpha)
            assert got.tokens[row].tolist() == toy.padded(want.tokens, length)
            np.testing.assert_allclose(got.scores[row], want.score, rtol=1e-5)
    assert (got.tokens != likeliest.tokens).any()


def test_without_an_end_the_likeliest_live_beam_is_the_result():
    """EOS is the least likely token, so it is never among the 2 K best extensions."""
    length = 8
    model = toy.Toy(vocab_size=7, seed=2)
    table = np.array(model.params["toy"]["table"])
    table[:, toy.EOS] = table.min(axis=1) - 1
    model.params = {"toy": {"table": table}}
    got = beam_search(model, length, beam_size=3, alpha=0.6)
    for row, inputs in enumerate(INPUTS.tolist()):
        if row != FILLER:
            want = toy.search(model.log_probs(inputs), length, 3, 0.6)
            assert len(want.tokens) == length and toy.EOS not in want.tokens
            assert got.tokens[row].tolist() == want.tokens
            np.testing.assert_allclose(got.scores[row], want.score, rtol=1e-5)


def test_a_beam_of_one_is_greedy():
    length, alpha = 8, 1.5
    model = toy.Toy(vocab_size=7, seed=3)
    got = beam_search(model, length, beam_size=1, alpha=alpha)
    greedy = jax.jit(lambda params: decoding.greedy(model, params, INPUTS, length))
    np.testing.assert_array_equal(got.tokens, greedy(model.params))
    for row in (0, 1, 3):
        tokens = got.tokens[row].tolist()
        if toy.EOS in tokens:
            tokens = tokens[: tokens.index(toy.EOS) + 1]
        want = toy.likelihood(model.log_probs(INPUTS[row].tolist()), tokens)
        want /= toy.penalty(len(tokens), alpha)
        np.testing.assert_allclose(got.scores[row], want, rtol=1e-5)


def test_it_stops_when_no_live_beam_can_win_and_not_before():
    length, alpha = 9, 1.5
    model = toy.Toy(vocab_size=5, seed=4)
    inputs = np.array([[5, 1]] * 2, np.int32)
    steps = []

    def counted(params, cache, tokens):
        jax.debug.callback(lambda: steps.append(1))
        return toy.Toy.decode_step(model, params, cache, tokens)

    model.decode_step = counted
    compiled = jax.jit(
        lambda params: decoding.beam_search(
            model, params, inputs, length, beam_size=2, alpha=alpha
        )
    )

    def run(table):
        steps.clear()
        got = jax.block_until_ready(compiled({"toy": {"table": table}}))
        jax.effects_barrier()
        return got.tokens[1].tolist(), float(got.scores[1]), len(steps)

    table = np.array(model.params["toy"]["table"])
    table[:, toy.EOS] = 20
    assert run(table)[::2] == (toy.padded([toy.EOS], length), 1)
    table[:, toy.EOS] = -20
    assert run(table)[2] == length
    # EOS comes first with probability 0.5. The beam with 0.4 continues with certainty:
    # its score is lower while it is short, and higher once it is long.
    table[:] = -30
    table[:, 2] = 0
    table[toy.place([5, 1], [])] = np.log([0.05, 0.5, 0.4, 0.04, 0.01])
    table[toy.place([5, 1], [2] * (length - 1))] = [-30, 0, -30, -30, -30]
    tokens, score, count = run(table)
    assert (tokens, count) == ([2] * (length - 1) + [toy.EOS], length)
    np.testing.assert_allclose(score, np.log(0.4) / (14 / 6) ** alpha, rtol=1e-5)
    assert np.log(0.5) > np.log(0.4) / (7 / 6) ** alpha


def test_length_penalty():
    want = [(5 + length) ** 0.6 / 6**0.6 for length in (1, 7, 114)]
    got = [decoding.length_penalty(length, 0.6) for length in (1, 7, 114)]
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert got[0] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size: must be at least 1, got 0"),
        ({"alpha": -0.1}, "alpha: must be finite and not negative, got -0.1"),
        ({"alpha": math.nan}, "alpha: must be finite and not negative, got nan"),
        ({"alpha": math.inf}, "alpha: must be finite and not negative, got inf"),
        ({"max_decode_length": 0}, "max_decode_length: must be at least 1, got 0"),
    ],
)
def test_bad_options_are_errors(options, message):
    model = toy.Toy(vocab_size=5)
    with pytest.raises(ValueError, match=f"beam_search: {message}"):
        decoding.beam_search(model, None, INPUTS, **{"max_decode_length": 3, **options})


def test_a_vocabulary_of_one_is_an_error():
    model = toy.Toy(vocab_size=1)
    with pytest.raises(ValueError, match="at least 2 tokens"):
        jax.eval_shape(
            lambda params: decoding.beam_search(model, params, INPUTS, 3), model.params
        )


@pytest.mark.parametrize(
    "example",
    [
        every.Example("transformer-EL1-DL1-PI"),
        *(
            pytest.param(example, marks=pytest.mark.slow)
            for example in architectures.EXAMPLES
        ),
    ],
    ids=lambda example: example.label,
)
def test_cached_beams_equal_full_forward_passes(example):
    """If a beam had the state of another, some scores would differ."""
    beam_size, length, alpha, num_draws = 3, every.T, 0.6, 8
    model = example.build()
    inputs = np.array(every.encoder_tokens())
    if not example.fixed_length:
        inputs[1, 8:] = 0
    run = jax.jit(
        lambda params: decoding.beam_search(
            model, params, inputs, length, beam_size, alpha
        )
    )
    apply = jax.jit(model.apply)

    def log_probs(prefixes, params, row):
        fed = np.zeros((beam_size, length), np.int32)
        for place, prefix in enumerate(prefixes):
            fed[place, 1 : len(prefix) + 1] = prefix
        # Token 0 can be decoded, where it is not padding.
        real = (np.arange(length) <= len(prefixes[0])).astype(np.int32)
        segments = np.broadcast_to(real, fed.shape)
        repeated = np.repeat(inputs[row][None], beam_size, axis=0)
        logits = apply(params, repeated, fed, decoder_segment_ids=segments)
        logits = np.asarray(logits)  # Avoids compiling slices.
        return toy.log_softmax(logits[: len(prefixes), len(prefixes[0])])

    num_compared = 0
    for seed in range(num_draws):
        params = architectures.draw_params(model, seed)
        got = run(params)
        for row in range(every.B):
            after = functools.partial(log_probs, params=params, row=row)
            tokens = got.tokens[row].tolist()
            if toy.EOS in tokens:
                tokens = tokens[: tokens.index(toy.EOS) + 1]
            score = toy.likelihood(after, tokens) / toy.penalty(len(tokens), alpha)
            np.testing.assert_allclose(got.scores[row], score, rtol=1e-4)
            want = toy.search(after, length, beam_size, alpha)
            if want.margin > 1e-4:
                np.testing.assert_allclose(score, want.score, rtol=1e-4)
                num_compared += 1
    assert num_compared > num_draws
