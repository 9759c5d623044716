"""Batches as a pure function of (seed, step)."""

import numpy as np
import pytest

from clinometer.data.errors import DataError
from clinometer.data.pretraining import batches
from clinometer.data.pretraining import span_corruption
from clinometer.models.seq2seq import batch as batch_lib

KEYS = ("encoder_input_tokens", "decoder_target_tokens", "decoder_input_tokens")


def _make(store, **changes):
    settings = {"batch_size": 8, "encoder_length": 64, "seed": 3} | changes
    return batches.PretrainBatches(store, make_batch=batch_lib.make, **settings)


def _make_eval(store, **changes):
    settings = {"encoder_length": 64} | changes
    return batches.EvalBatches(store, make_batch=batch_lib.make, **settings)


def _equal(left, right):
    return all(np.array_equal(left[key], right[key]) for key in KEYS)


def _restore(batch, vocab_size):
    """Returns the raw rows that give these inputs and targets."""
    first = vocab_size - 100
    rows = []
    for inputs, targets in zip(batch[KEYS[0]], batch[KEYS[1]]):
        spans, current = {}, None
        for token in targets[targets != 0][:-1].tolist():
            if token >= first:
                current = spans.setdefault(token, [])
            else:
                current.append(token)
        row = []
        for token in inputs[inputs != 0][:-1].tolist():
            row += spans[token] if token >= first else [token]
        rows.append(tuple(row))
    return rows


def _rows(store, split, raw):
    tokens = store.split(split).read(0, store.split(split).num_tokens).tolist()
    return [tuple(tokens[k : k + raw]) for k in range(0, len(tokens), raw)]


def test_shapes_and_shift(store):
    made = _make(store)
    batch = made.batch(0)
    assert made.lengths == span_corruption.raw_length(64)
    assert batch[KEYS[0]].shape == (8, 64)
    assert batch[KEYS[1]].shape == batch[KEYS[2]].shape == (8, made.lengths.targets)
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int32)}
    for targets, inputs in zip(batch[KEYS[1]], batch[KEYS[2]]):
        assert inputs.tolist() == [0, *targets[:-1].tolist()]
        assert targets[-1] == 1


def test_same_seed_and_step_give_the_same_batch_and_others_another(store):
    made = _make(store)
    assert _equal(made.batch(5), _make(store).batch(5))
    assert not _equal(made.batch(5), made.batch(6))
    assert not _equal(made.batch(5), _make(store, seed=4).batch(5))


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [4, 5, 6, 7], [1, 6], [7]])
def test_rows_are_those_of_the_batch(store, rows):
    made = _make(store)
    whole = made.batch(7)
    assert _equal(made.batch(7, rows), {key: whole[key][rows] for key in KEYS})
    assert not _equal(made.batch(7, [0]), {key: whole[key][[1]] for key in KEYS})


@pytest.mark.parametrize("rows", [None, [4, 5, 7]])
def test_iterating_from_any_step_equals_batches(store, rows):
    made = _make(store)
    for start in (0, 11):
        iterator = made.iterate(start, rows)
        for step in range(start, start + 9):
            assert _equal(next(iterator), made.batch(step, rows))
        iterator.close()


def test_an_epoch_holds_each_row_once_and_the_next_is_shuffled_anew(store):
    made = _make(store, batch_size=1)
    raw = made.lengths.raw
    expected = _rows(store, "train", raw)[: made.num_rows]
    assert len(expected) == store.split("train").num_tokens // raw
    epochs = []
    for epoch in range(2):
        steps = range(epoch * made.num_rows, (epoch + 1) * made.num_rows)
        epochs.append(
            [_restore(made.batch(step), store.vocabulary.size)[0] for step in steps]
        )
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(expected)
    assert epochs[0] != expected
    assert epochs[0] != epochs[1]
    assert made.epoch(made.num_rows) == 1.0


def test_cuts_differ_between_epochs(store):
    made = _make(store, batch_size=1)
    raw_to_inputs = {}
    for step in range(2 * made.num_rows):
        batch = made.batch(step)
        row = _restore(batch, store.vocabulary.size)[0]
        raw_to_inputs.setdefault(row, set()).add(batch[KEYS[0]].tobytes())
    counts = [len(cuts) for cuts in raw_to_inputs.values()]
    assert np.mean(np.array(counts) == 2) > 0.95


@pytest.mark.parametrize("batch_size", [1, 7, 16])
def test_evaluation_covers_every_token_whatever_the_batch(store, batch_size):
    made = _make_eval(store, batch_size=batch_size)
    rows = []
    for batch in made:
        assert batch[KEYS[0]].shape == (batch_size, 64)
        rows += _restore(batch, store.vocabulary.size)
    expected = _rows(store, "validation", made.lengths.raw)
    assert len(expected[-1]) != made.lengths.raw  # the short row is there, too
    assert rows[: len(expected)] == expected
    assert all(row == () for row in rows[len(expected) :])
    assert len(made) == -(-len(expected) // batch_size)
    again = _make_eval(store, batch_size=batch_size)
    assert all(_equal(left, right) for left, right in zip(made, again))


def test_evaluation_targets_do_not_depend_on_the_batch_size(store):
    def targets(batch_size):
        made = _make_eval(store, batch_size=batch_size)
        stacked = np.concatenate([batch[KEYS[1]] for batch in made])
        return stacked[: made.num_rows]

    np.testing.assert_array_equal(targets(3), targets(16))


def test_evaluation_max_rows_are_spread_over_the_split(store):
    made = _make_eval(store, batch_size=4, max_rows=6)
    rows = [r for b in made for r in _restore(b, store.vocabulary.size)]
    expected = _rows(store, "validation", made.lengths.raw)
    assert rows[:6] == [expected[k * len(expected) // 6] for k in range(6)]
    assert rows[6:] == [(), ()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 10**6}, r"has \d+ tokens.* needs 70000000 tokens"),
        ({"encoder_length": 1}, "encoder_length 1"),
        ({"seed": -1}, "Data seed -1"),
        ({"split": "test"}, "no split 'test'"),
    ],
)
def test_bad_settings(store, changes, message):
    with pytest.raises(DataError, match=message):
        _make(store, **changes)


def test_bad_rows(store):
    for rows in ([], [0, 8], [-1]):
        with pytest.raises(DataError, match="of a batch of 8; accepted .* 0 to 7"):
            _make(store).batch(0, rows)
        with pytest.raises(DataError, match="of a batch of 8; accepted .* 0 to 7"):
            _make(store).iterate(0, rows)
    with pytest.raises(DataError, match="Step -1"):
        _make(store).batch(-1)
