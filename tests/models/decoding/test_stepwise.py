"""Greedy decoding equals a walk along prefixes and stops once all rows have ended."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.models import decoding
from clinometer.tests.models.decoding import toy

INPUTS = jnp.array([[5, 1], [17, 1], [0, 0], [40, 1]])
FILLER = 2


def walk(log_probs, max_length):
    """Returns the most likely tokens one by one, and their log-likelihood."""
    tokens, total = [], 0.0
    while len(tokens) < max_length and toy.EOS not in tokens:
        row = log_probs([tuple(tokens)])[0]
        tokens.append(int(row.argmax()))
        total += row.max()
    return tokens, total


def test_greedy_equals_a_walk():
    length, model = 8, toy.Toy(vocab_size=5)
    got = jax.jit(lambda params: decoding.generate(model, params, INPUTS, length))(
        model.params
    )
    assert got.tokens.dtype == jnp.int32
    assert got.scores.dtype == jnp.float32
    lengths = set()
    for row, inputs in enumerate(INPUTS.tolist()):
        if row == FILLER:
            assert got.tokens[row].tolist() == [0] * length
            assert got.scores[row] == 0
            continue
        tokens, total = walk(model.log_probs(inputs), length)
        assert got.tokens[row].tolist() == toy.padded(tokens, length)
        np.testing.assert_allclose(got.scores[row], total, rtol=1e-5)
        lengths.add(len(tokens))
    assert len(lengths) > 1


def test_it_stops_when_all_rows_ended():
    """Rows of filler do not prolong decoding."""
    model = toy.Toy(vocab_size=5)
    table = model.params["toy"]["table"]
    ends = {"toy": {"table": table.at[:, toy.EOS].set(99.0)}}
    steps = []

    def counted(params, cache, tokens):
        jax.debug.callback(lambda: steps.append(1))
        return toy.Toy.decode_step(model, params, cache, tokens)

    model.decode_step = counted
    run = jax.jit(lambda params: decoding.greedy(model, params, INPUTS, 9))
    assert run(ends).tolist() == [
        toy.padded([] if row == FILLER else [toy.EOS], 9) for row in range(4)
    ]
    jax.effects_barrier()
    assert len(steps) == 1


@pytest.mark.parametrize(
    ("inputs", "length", "message"),
    [
        (INPUTS, 0, "max_decode_length: must be at least 1, got 0"),
        (INPUTS[0], 3, r"must be integers \[B, S\], got int32 \[2\]"),
        (INPUTS.astype(jnp.float32), 3, r"integers \[B, S\], got float32 \[4, 2\]"),
    ],
)
def test_bad_input_is_an_error(inputs, length, message):
    model = toy.Toy(vocab_size=5)
    with pytest.raises(ValueError, match=f"generate: .*{message}"):
        decoding.greedy(model, None, inputs, length)
