"""`Runner` uses few programs and returns results in the order of the examples."""

import dataclasses

import jax
import numpy as np
import pytest

from clinometer import models
from clinometer.models import decoding
from clinometer.models.config import ConfigError
from clinometer.tests.models.decoding import toy

VOCAB_SIZE = 50
MODEL = toy.Toy(VOCAB_SIZE)


def sums(params, tokens, rows):
    """A function that is easy to check: the sum of a row, and its id."""
    del params
    return {"sum": tokens.sum(axis=1), "row": rows}


def examples_of(lengths, seed=0):
    draw = np.random.default_rng(seed)
    return [draw.integers(1, VOCAB_SIZE, length).tolist() for length in lengths]


def test_results_are_in_order_and_programs_are_few():
    lengths = [3, 70, 40, 5, 33, 100, 64, 2, 1]
    examples = examples_of(lengths)
    runner = decoding.Runner(MODEL, sums, batch_size=2, max_input_length=100)
    got, report = runner(MODEL.params, examples)
    assert got["sum"].tolist() == [sum(example) for example in examples]
    assert got["row"].tolist() == list(range(len(examples)))
    assert report.examples == 9
    assert report.compilations == 3  # Of 32, 64 and 100.
    assert report.batches == 2 + 2 + 1  # Of 4, 3 and 2 examples.
    assert report.compile_seconds > 0
    assert report.sequences_per_second == 9 / report.run_seconds
    got, report = runner(MODEL.params, examples[::-1])
    assert got["sum"].tolist() == [sum(example) for example in examples[::-1]]
    assert report.compilations == 0


def test_given_lengths_are_the_shapes():
    shapes = []

    def function(params, tokens, rows):
        shapes.append(tokens.shape)
        return sums(params, tokens, rows)

    runner = decoding.Runner(
        MODEL, function, batch_size=3, max_input_length=12, lengths=[12, 6]
    )
    examples = examples_of([6, 7, 12, 1])
    got, report = runner(MODEL.params, examples)
    assert got["sum"].tolist() == [sum(example) for example in examples]
    assert shapes == [(3, 6), (3, 12)]
    assert report.compilations == 2


@pytest.mark.slow
def test_samples_do_not_depend_on_the_batches():
    def function(params, tokens, rows):
        return decoding.sample(MODEL, params, tokens, 5, jax.random.key(0), rows)

    examples = examples_of([4, 9, 2, 7, 7])
    results = []
    for batch_size in (2, 5):
        runner = decoding.Runner(
            MODEL, function, batch_size=batch_size, max_input_length=9
        )
        results.append(runner(MODEL.params, examples)[0])
    np.testing.assert_array_equal(results[0].tokens, results[1].tokens)
    assert results[0].scores.dtype == np.float32


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "examples: must not be empty"),
        (
            [[3], []],
            r"example 1: must be a list of at least one token, got shape \[0\]",
        ),
        ([[3], [[3]]], r"example 1: must be a list .* got shape \[1, 1\]"),
        ([[3.5]], "example 0: must be integers, got float64"),
        ([[3] * 65], "example 0: 65 tokens exceed max_input_length, 64; truncate"),
        ([[3], [2, 50]], r"example 1: token 50 is not in \[1, 50\)"),
        ([[3, 0, 2]], r"example 0: token 0 is not in \[1, 50\)"),
    ],
)
def test_bad_examples_are_errors(examples, message):
    runner = decoding.Runner(MODEL, sums, batch_size=2, max_input_length=64)
    with pytest.raises(ValueError, match=f"Runner: {message}"):
        runner(MODEL.params, examples)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: must be at least 1, got 0"),
        ({"max_input_length": 0}, "max_input_length: must be at least 1, got 0"),
        ({"lengths": []}, r"lengths: must be positive, .* 64; got \[\]"),
        ({"lengths": [32]}, r"lengths: must be positive, .* 64; got \[32\]"),
        ({"lengths": [0, 64]}, r"lengths: must be positive, .* 64; got \[0, 64\]"),
    ],
)
def test_bad_options_are_errors(options, message):
    with pytest.raises(ValueError, match=f"Runner: {message}"):
        decoding.Runner(
            MODEL, sums, **{"batch_size": 2, "max_input_length": 64, **options}
        )


def test_buckets_that_a_model_does_not_take_are_passed_over():
    """A mixer accepts one length; the function is only traced."""
    model = models.build("mixer-pico", vocab_size=VOCAB_SIZE, sequence_length=80)
    params = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params)
    runner = decoding.Runner(model, sums, batch_size=2, max_input_length=80)
    examples = examples_of([4, 40])
    got, report = runner(params, examples)
    assert got["sum"].tolist() == [sum(example) for example in examples]
    assert report.compilations == 1

    def encode(params, tokens, rows):
        del rows
        return model.encode(params, tokens)

    runner = decoding.Runner(
        model, encode, batch_size=2, max_input_length=80, lengths=[32, 80]
    )
    with pytest.raises(ConfigError, match="80, got 32"):
        runner(params, examples)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["greedy", "beam", "rank"])
def test_a_thousand_examples_at_nano(method):
    model = models.build("transformer-nano", vocab_size=512, dropout_rate=0.0)
    params = jax.jit(model.init)(jax.random.key(0))
    targets = decoding.pack_targets([[5], [6, 7]], 512)
    calls = []

    def function(params, tokens, rows):
        calls.append(rows)
        if method == "greedy":
            return decoding.generate(model, params, tokens, 8)
        if method == "beam":
            return decoding.beam_search(model, params, tokens, 8)
        return decoding.score_targets(model, params, tokens, targets)

    draw = np.random.default_rng(0)
    examples = [
        draw.integers(1, 512, length).tolist() for length in draw.integers(1, 129, 1000)
    ]
    runner = decoding.Runner(model, function, batch_size=64, max_input_length=128)
    got, report = runner(params, examples)
    print(method, dataclasses.asdict(report), report.sequences_per_second)
    assert report.compilations == len(calls) == 3
    assert report.examples == 1000
    # An example gets the same result alone as among a thousand.
    for row in (0, 999):
        alone = jax.jit(function)(
            params, np.array([examples[row]], np.int32), np.array([row])
        )
        for many, one in zip(jax.tree.leaves(got), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(many[row], one[0], rtol=1e-4)
