"""Span corruption, compared with a slow reference (FORMATS.md#span-corruption)."""

from fractions import Fraction

import numpy as np
import pytest

from clinometer.data.errors import DataError
from clinometer.data.pretraining import span_corruption

VOCAB_SIZE = 32100
EOS = 1


def _cuts_by_smallest_keys(length, segments, keys):
    """Returns cut points, after the positions of the `segments - 1` smallest keys."""
    ranked = sorted(range(length - 1), key=lambda place: keys[place])
    cuts = sorted(place + 1 for place in ranked[: segments - 1])
    bounds = [0, *cuts, length]
    return [stop - start for start, stop in zip(bounds, bounds[1:])]


def _reference(tokens, keys, vocab_size, density=0.15, mean=3.0):
    n = len(tokens)
    noise = min(max(round(density * n), 1), n - 1)
    spans = max(1, round(noise / mean))
    noise_lengths = _cuts_by_smallest_keys(noise, spans, keys[: noise - 1])
    text_lengths = _cuts_by_smallest_keys(n - noise, spans, keys[noise - 1 :])
    mask = []
    for text, corrupted in zip(text_lengths, noise_lengths):
        mask += [False] * text + [True] * corrupted

    def replace(replaced):
        result, sentinel, inside = [], vocab_size, False
        for token, hit in zip(tokens, replaced):
            if hit and not inside:
                sentinel -= 1
                result.append(sentinel)
            elif not hit:
                result.append(int(token))
            inside = hit
        return [*result, EOS]

    return replace(mask), replace([not hit for hit in mask])


def _row(raw, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(3, 32000, raw), span_corruption.draw_keys(rng, raw)


@pytest.mark.parametrize(
    ("encoder_length", "raw", "targets"),
    [(512, 568, 114), (128, 141, 29), (256, 284, 58)],
)
def test_lengths_of_t5(encoder_length, raw, targets):
    lengths = span_corruption.raw_length(encoder_length)
    assert lengths == span_corruption.Lengths(raw, encoder_length, targets)


def test_length_1024():
    assert span_corruption.raw_length(1024) == span_corruption.Lengths(1137, 1024, 229)


@pytest.mark.parametrize("encoder_length", [5, 17, 32, 64, 100, 200, 333, 777])
@pytest.mark.parametrize(("density", "mean"), [(0.15, 3.0), (0.3, 4.0), (0.5, 8.0)])
def test_raw_length_is_the_largest_that_fits(encoder_length, density, mean):
    def inputs(n):  # round half to even, in exact arithmetic of the float's value
        noise = min(max(round(Fraction(n * density)), 1), n - 1)
        return n - noise + max(1, round(Fraction(noise / mean))) + 1

    raw = span_corruption.raw_length(encoder_length, density, mean).raw
    assert inputs(raw) == encoder_length
    assert all(inputs(n) > encoder_length for n in range(raw + 1, raw + 50))


def test_raw_length_equals_a_search_one_by_one():
    rng = np.random.default_rng(0)
    for _ in range(200):
        arguments = (rng.uniform(0.01, 0.9), rng.uniform(1, 20))
        encoder_length = int(rng.integers(2, 400))
        raw = 2
        while span_corruption.lengths_of(raw + 1, *arguments).inputs <= encoder_length:
            raw += 1
        try:
            found = span_corruption.raw_length(encoder_length, *arguments)
        except DataError:
            continue
        assert found == span_corruption.lengths_of(raw, *arguments)


@pytest.mark.parametrize(
    "arguments", [(512, 1 - 1e-9, 1e30), (512, 1 - 1e-16, 1e30), (1 << 30, 0.15, 3.0)]
)
def test_lengths_beyond_measure_are_refused_at_once(arguments):
    with pytest.raises(DataError):
        span_corruption.raw_length(*arguments)


def test_rounding_is_half_to_even():
    # 0.15 * 30 = 4.5 -> 4 and 0.5 * 5 = 2.5 -> 2: half up would give 5 and 3.
    assert span_corruption.noise_counts(30)[0] == 4
    assert span_corruption.noise_counts(5, 0.5)[0] == 2


@pytest.mark.parametrize("raw", [2, 3, 7, 20, 141, 284, 568])
@pytest.mark.parametrize("seed", range(5))
def test_equals_slow_reference(raw, seed):
    tokens, keys = _row(raw, seed)
    inputs, targets = span_corruption.corrupt(tokens[None], keys[None], VOCAB_SIZE)
    expected_inputs, expected_targets = _reference(tokens, keys, VOCAB_SIZE)
    assert inputs[0].tolist() == expected_inputs
    assert targets[0].tolist() == expected_targets


def test_comparison_with_reference_notices_one_key():
    tokens, keys = _row(568, 0)
    changed = keys.copy()
    changed[84 + 100] = 0.0 if keys[84 + 100] > 0.06 else 1.0
    inputs, _ = span_corruption.corrupt(tokens[None], changed[None], VOCAB_SIZE)
    assert inputs[0].tolist() != _reference(tokens, keys, VOCAB_SIZE)[0]


def test_rows_of_a_batch_do_not_touch_each_other():
    rows = [_row(141, seed) for seed in range(4)]
    tokens, keys = map(np.stack, zip(*rows))
    inputs, targets = span_corruption.corrupt(tokens, keys, 2048)
    for k, (row_tokens, row_keys) in enumerate(rows):
        expected = _reference(row_tokens, row_keys, 2048)
        assert (inputs[k].tolist(), targets[k].tolist()) == expected


def test_exact_counts_at_512_and_114():
    tokens, keys = _row(568, 3)
    inputs, targets = span_corruption.corrupt(tokens[None], keys[None], VOCAB_SIZE)
    inputs, targets = inputs[0], targets[0]
    assert inputs.dtype == targets.dtype == np.int32
    assert (len(inputs), len(targets)) == (512, 114)
    sentinels = list(range(32099, 32099 - 28, -1))
    assert [t for t in inputs if t >= 32000] == sentinels
    assert [t for t in targets if t >= 32000] == sentinels
    assert inputs[-1] == targets[-1] == EOS
    assert inputs[0] < 32000  # a row starts with text
    assert targets[0] == 32099
    assert inputs[-2] == 32099 - 27  # and ends with noise
    assert targets[-2] < 32000  # no sentinel after the last span


@pytest.mark.parametrize("seed", range(10))
def test_original_is_restored_from_inputs_and_targets(seed):
    tokens, keys = _row(568, seed)
    inputs, targets = span_corruption.corrupt(tokens[None], keys[None], VOCAB_SIZE)
    spans, current = {}, None
    for token in targets[0, :-1].tolist():
        if token >= 32000:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    restored = []
    for token in inputs[0, :-1].tolist():
        restored += spans[token] if token >= 32000 else [token]
    assert restored == tokens.tolist()


def test_cuts_are_uniform():
    # 5 tokens of text in 3 segments: C(4, 2) = 6 ways, all equally likely.
    rng = np.random.default_rng(0)
    _, lengths = span_corruption._segments(5, 3, rng.random((12000, 4)))
    ways, counts = np.unique(lengths, axis=0, return_counts=True)
    assert len(ways) == 6
    assert (lengths.sum(axis=1) == 5).all()
    assert np.abs(counts - 2000).max() < 5 * np.sqrt(12000 * 1 / 6 * 5 / 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((512, 0.0), "noise_density"),
        ((512, 1.0), "noise_density"),
        ((512, 0.15, 0.5), "mean_noise_span_length"),
        ((1,), "encoder_length 1 is impossible"),
        ((2048,), "sentinels"),
        ((64, 0.9, 1.0), "lower the density"),
    ],
)
def test_impossible_lengths_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        span_corruption.raw_length(*arguments)
