"""Batches of mixtures as a pure function of (seed, step), padded and packed."""

import collections
import dataclasses

import jax
import numpy as np
import pytest

from clinometer import models
from clinometer.data.errors import DataError
from clinometer.data.mixtures import tokenized_examples
from clinometer.data.mixtures.batches import FinetuneBatches
from clinometer.data.mixtures.batches import FinetuneEvalBatches
from clinometer.data.pretraining import span_corruption
from clinometer.models.seq2seq import batch as batch_lib

TOKENS = ("encoder_input_tokens", "decoder_target_tokens", "decoder_input_tokens")
SEGMENTS = ("encoder_segment_ids", "decoder_segment_ids")
SIZES = {"long": 30, "short": 50, "rare": 3}
RATES = {"long": 30, "short": 50, "rare": 4}
SETTINGS = {
    "make_batch": batch_lib.make,
    "batch_size": 8,
    "encoder_length": 24,
    "decoder_length": 10,
}


@pytest.fixture(scope="module")
def tasks():
    """Returns three tasks; the first two tokens of an example identify it."""
    rng = np.random.default_rng(0)
    made = {}
    for number, (name, size) in enumerate(SIZES.items()):
        longest = 24 if name == "long" else 9

        def ragged(lengths, number=number):
            rows = [
                [10 + number, 20 + k, *[99] * (length - 3), 1]
                for k, length in enumerate(lengths)
            ]
            return tokenized_examples.Ragged(
                np.array(sum(rows, []), np.uint16), lengths
            )

        made[name] = tokenized_examples.TokenizedExamples(
            ragged(rng.integers(3, longest, size)),
            ragged(rng.integers(3, 8, size)),
            0,
            0,
        )
    return made


def _make(tasks, **changes):
    settings = {**SETTINGS, "seed": 3}
    return FinetuneBatches(tasks, RATES, **settings | changes)


def _equal(left, right):
    return set(left) == set(right) and all(
        np.array_equal(left[key], right[key]) for key in left
    )


def _split(row):
    """Returns the (task, example) of each segment in a row of tokens."""
    ends = np.flatnonzero(row == 1) + 1
    assert not row[ends[-1] if len(ends) else 0 :].any()
    names = list(SIZES)
    return [
        (names[part[0] - 10], int(part[1]) - 20) for part in np.split(row, ends)[:-1]
    ]


def _examples(batch):
    """Returns the (task, example) of every example in a batch.

    Checks that inputs and targets agree.
    """
    rows = [list(map(_split, batch[key])) for key in TOKENS[:2]]
    assert rows[0] == rows[1]
    return [example for row in rows[0] for example in row]


def test_padded_rows_are_the_mixtures_examples(tasks):
    made = _make(tasks)
    assert made.lengths == span_corruption.Lengths(34, 24, 10)
    assert made.num_rows == 83
    for step in range(5):
        batch = made.batch(step)
        assert tuple(batch) == TOKENS
        assert {array.dtype for array in batch.values()} == {np.dtype(np.int32)}
        places = [made.interleaving.locate(8 * step + row) for row in range(8)]
        for row, (name, index) in enumerate(places):
            for key, part in zip(TOKENS, (tasks[name].inputs, tasks[name].targets)):
                tokens = part[index].tolist()
                assert batch[key][row, : len(tokens)].tolist() == tokens
                assert not batch[key][row, len(tokens) :].any()
            shifted = [0, *batch[TOKENS[1]][row, :-1].tolist()]
            assert batch[TOKENS[2]][row].tolist() == shifted


def test_packed_rows_hold_whole_examples_with_their_segments(tasks):
    made = _make(tasks, packing=True)
    plain = _make(tasks)
    assert made.num_rows < plain.num_rows
    for step in range(5):
        batch = made.batch(step)
        assert set(batch) == {*TOKENS, *SEGMENTS}
        assert {array.dtype for array in batch.values()} == {np.dtype(np.int32)}
        assert len(_examples(batch)) > 8
        for row in range(8):
            for tokens, segments in zip(TOKENS, SEGMENTS):
                ids = batch[tokens][row]
                expected = np.cumsum(np.concatenate([[1], ids[:-1] == 1]))
                assert np.array_equal(
                    batch[segments][row], np.where(ids != 0, expected, 0)
                )
            # Within a segment, the decoder sees 0 and then the preceding targets.
            targets, inputs = batch[TOKENS[1]][row], batch[TOKENS[2]][row]
            starts = np.concatenate([[True], targets[:-1] == 1])
            shifted = np.concatenate([[0], targets[:-1]])
            expected = np.where(starts | (targets == 0), 0, shifted)
            assert np.array_equal(inputs, expected)


@pytest.mark.parametrize("packing", [False, True])
def test_examples_come_at_their_rates(tasks, packing):
    made = _make(tasks, packing=packing, batch_size=1)
    seen = collections.Counter()
    for step in range(made.interleaving.period):
        for name, _ in _examples(made.batch(step)):
            seen[name] += 1
    if packing:
        total = sum(seen.values())
        uneven = 0.1  # rows differ in examples, and no period ends with an epoch
        for name, rate in RATES.items():
            assert seen[name] / total == pytest.approx(rate / 84, rel=uneven)
    else:
        assert seen == {name: rate // 2 for name, rate in RATES.items()}


def test_an_epoch_of_packed_rows_holds_every_example_once(tasks):
    made = FinetuneBatches(
        {"short": tasks["short"]},
        {"short": 1},
        make_batch=batch_lib.make,
        batch_size=1,
        encoder_length=24,
        decoder_length=10,
        packing=True,
    )
    epochs = []
    for epoch in range(2):
        rows = range(epoch * made.num_rows, (epoch + 1) * made.num_rows)
        epochs.append([k for step in rows for _, k in _examples(made.batch(step))])
        assert sorted(epochs[-1]) == list(range(50))
    assert epochs[0] != epochs[1]
    assert made.epoch(made.num_rows) == 1.0
    assert made.task_epochs(2 * made.num_rows) == {"short": 2.0}


@pytest.mark.parametrize("packing", [False, True])
def test_same_seed_and_step_give_the_same_batch_and_others_another(tasks, packing):
    made = _make(tasks, packing=packing)
    assert _equal(made.batch(5), _make(tasks, packing=packing).batch(5))
    assert not _equal(made.batch(5), made.batch(6))
    assert not _equal(made.batch(5), _make(tasks, packing=packing, seed=4).batch(5))


@pytest.mark.parametrize("packing", [False, True])
def test_rows_are_those_of_the_batch(tasks, packing):
    made = _make(tasks, packing=packing)
    whole = made.batch(7)
    for rows in ([0, 1], [2, 3, 7]):
        part = {key: array[rows] for key, array in whole.items()}
        assert _equal(made.batch(7, rows), part)
    assert not _equal(made.batch(7, [0]), {k: v[[1]] for k, v in whole.items()})


@pytest.mark.parametrize("rows", [None, [4, 5, 7]])
def test_iterating_from_any_step_equals_batches(tasks, rows):
    made = _make(tasks, packing=True)
    for start in (0, 11):
        iterator = made.iterate(start, rows)
        for step in range(start, start + 9):
            assert _equal(next(iterator), made.batch(step, rows))
        iterator.close()


@pytest.mark.parametrize("packing", [False, True])
def test_the_evaluation_set_is_every_example_once(tasks, packing):
    made = FinetuneEvalBatches(tasks, packing=packing, **SETTINGS)
    found = [example for batch in made for example in _examples(batch)]
    assert sorted(found) == sorted(
        (n, k) for n, size in SIZES.items() for k in range(size)
    )
    last = made.batch(len(made) - 1)
    assert last[TOKENS[0]].shape == (8, 24)
    assert not last[TOKENS[1]][made.num_rows % 8 :].any()
    assert {k: v.shape for k, v in last.items()} == {
        k: v.shape for k, v in _make(tasks, packing=packing).batch(0).items()
    }
    some = FinetuneEvalBatches(tasks, packing=packing, max_rows=9, **SETTINGS)
    assert (some.num_rows, len(some)) == (9, 2)
    assert {name for batch in some for name, _ in _examples(batch)} >= {"long", "short"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"encoder_length": 1}, "encoder_length is 1"),
        (
            {"encoder_length": 20},
            "Task 'long' has inputs of 23 tokens and targets of 7",
        ),
        ({"decoder_length": 6}, "accepted are at most 24 and 6"),
    ],
)
def test_bad_settings(tasks, changes, message):
    with pytest.raises(DataError, match=message):
        _make(tasks, **changes)
    settings = SETTINGS | changes
    with pytest.raises(DataError, match=message):
        FinetuneEvalBatches(tasks, **settings)


@pytest.mark.parametrize("packing", [False, True])
def test_bad_mixtures(tasks, packing):
    def make(tasks, rates):
        FinetuneBatches(
            tasks,
            rates,
            packing=packing,
            **SETTINGS,
        )

    empty = tokenized_examples.Ragged(np.zeros(0, np.uint16), [])
    nothing = dataclasses.replace(tasks["rare"], inputs=empty, targets=empty)
    with pytest.raises(DataError, match="'rare' of the mixture has no example"):
        make(tasks | {"rare": nothing}, RATES)
    with pytest.raises(DataError, match="'rare' of the mixture has the rate 0"):
        make(tasks, RATES | {"rare": 0})
    with pytest.raises(DataError, match="has the rate nan"):
        make(tasks, RATES | {"rare": float("nan")})
    with pytest.raises(DataError, match="rates for long, short, rare, but examples of"):
        make({"long": tasks["long"]}, RATES)


def test_bad_requests(tasks):
    made = _make(tasks)
    with pytest.raises(DataError, match="Step -1 is negative"):
        made.batch(-1)
    with pytest.raises(DataError, match="of a batch of 8; accepted"):
        made.iterate(0, [8])
    with pytest.raises(DataError, match=r"batch 11 is not in \[0, 11\)"):
        FinetuneEvalBatches(tasks, **SETTINGS).batch(11)
    with pytest.raises(DataError, match="max_rows is 0"):
        FinetuneEvalBatches(tasks, max_rows=0, **SETTINGS)
    with pytest.raises(DataError, match="no examples to evaluate on"):
        FinetuneEvalBatches({}, **SETTINGS)


@pytest.mark.slow
def test_a_model_takes_packed_examples_for_what_they_are(tasks):
    """Each token's loss is the same whether or not its example shares a row."""
    model = models.build(
        "transformer-pico",
        vocab_size=128,
        num_encoder_layers=1,
        num_decoder_layers=1,
        dropout_rate=0,
    )
    params = jax.jit(model.init)(jax.random.key(0))
    predict = jax.jit(lambda *args, **kw: jax.nn.log_softmax(model.apply(*args, **kw)))
    losses = []
    for packing in (False, True):
        found = collections.defaultdict(list)
        for batch in FinetuneEvalBatches(tasks, packing=packing, **SETTINGS):
            log_probabilities = predict(
                params,
                batch["encoder_input_tokens"],
                batch["decoder_input_tokens"],
                **{name: batch[name] for name in SEGMENTS if packing},
            )
            for targets, row in zip(batch[TOKENS[1]], np.asarray(log_probabilities)):
                chosen = row[np.arange(len(targets)), targets]
                ends = np.flatnonzero(targets == 1) + 1
                for example, values in zip(_split(targets), np.split(chosen, ends)):
                    found[example] = values
        losses.append(found)
    assert set(losses[0]) == set(losses[1])
    for example, values in losses[0].items():
        np.testing.assert_allclose(losses[1][example], values, rtol=1e-5)
    values = np.array([found.mean() for found in losses[0].values()])
    assert values.std() > 0.01
