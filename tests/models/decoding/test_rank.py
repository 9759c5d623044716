"""Scores of given targets equal their summed log-likelihoods."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.models import decoding
from clinometer.tests.models import every_architecture as every
from clinometer.tests.models.decoding import toy

TARGETS = [[4, 2], [3], [3, 5, 2, 2]]


def test_targets_are_packed_behind_eos():
    packed = decoding.pack_targets([[4, 2], [3, 1], [3, 5, 2, 2]], vocab_size=6)
    assert packed.dtype == np.int32
    assert packed.tolist() == [[4, 2, 1, 0, 0], [3, 1, 0, 0, 0], [3, 5, 2, 2, 1]]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([], "targets: must not be empty"),
        ([[3], []], "target 1: has no tokens"),
        ([[3], [1]], "target 1: has no tokens"),
        ([[3], [2, 6]], r"target 1: token 6 is not in \[1, 6\)"),
        ([[3, 0, 2]], r"target 0: token 0 is not in \[1, 6\)"),
        ([[3, -1]], r"target 0: token -1 is not in \[1, 6\)"),
        ([[3, 1, 2]], r"target 0: contains EOS, 1, before its end: \(3, 1, 2, 1\)"),
        ([[3], [4], [3, 1]], r"target 2: has the same tokens as target 0: \(3, 1\)"),
    ],
)
def test_bad_targets_are_errors(targets, message):
    with pytest.raises(ValueError, match=f"pack_targets: {message}"):
        decoding.pack_targets(targets, vocab_size=6)


def test_scores_of_the_toy():
    model = toy.Toy(vocab_size=6)
    inputs = jnp.array([[5, 1], [0, 0], [17, 1]])
    packed = decoding.pack_targets(TARGETS, 6)

    @jax.jit
    def run(params, targets):
        return (
            decoding.score_targets(model, params, inputs, targets),
            decoding.score_targets(model, params, inputs, targets, mean_per_token=True),
        )

    total, mean = run(model.params, packed)
    assert total.dtype == mean.dtype == jnp.float32
    assert total[1].tolist() == [0, 0, 0]  # Filler.
    for row in (0, 2):
        log_probs = model.log_probs(inputs[row].tolist())
        want = [toy.likelihood(log_probs, [*target, toy.EOS]) for target in TARGETS]
        np.testing.assert_allclose(total[row], want, rtol=1e-5)
        np.testing.assert_allclose(mean[row], np.divide(want, [3, 2, 5]), rtol=1e-5)
    # Each row has its own targets.
    own = jnp.stack([packed, packed[::-1], packed[::-1]])
    reversed_total, _ = run(model.params, own)
    np.testing.assert_allclose(reversed_total[0], total[0], rtol=1e-6)
    np.testing.assert_allclose(reversed_total[2], total[2, ::-1], rtol=1e-6)
    # A token outside of the vocabulary has a score of NaN.
    strange, _ = run(model.params, np.where(packed == 4, 6, packed))
    assert np.isnan(strange[0]).tolist() == [True, False, False]


@pytest.mark.parametrize("shape", [(3,), (0, 4), (3, 0), (1, 3, 4), (2, 2, 3, 4)])
def test_targets_of_another_shape_are_errors(shape):
    inputs, targets = np.array([[5, 1], [6, 1]]), np.ones(shape, np.int32)
    with pytest.raises(ValueError, match="score_targets: "):
        decoding.score_targets(toy.Toy(vocab_size=6), None, inputs, targets)


@pytest.mark.slow
@pytest.mark.parametrize("example", every.EXAMPLES, ids=lambda example: example.label)
def test_scores_equal_teacher_forcing(example):
    """Compares the scores of every architecture to those of whole forward passes."""
    model, params = example.build(), example.params()
    inputs = every.encoder_tokens()
    length = every.T
    targets = [[9, 8, 7, 6, 5, 4], [33, 20]]
    got = jax.jit(
        lambda params: decoding.score_targets(
            model, params, inputs, decoding.pack_targets(targets, every.VOCAB_SIZE)
        )
    )(params)
    assert got.shape == (every.B, 2)
    for number, target in enumerate(targets):
        ended = [*target, toy.EOS]
        fed = np.tile(toy.padded([0, *ended[:-1]], length), (every.B, 1))
        logits = example.apply()(params, inputs, jnp.asarray(fed, jnp.int32))
        log_probs = toy.log_softmax(np.asarray(logits))[:, np.arange(len(ended)), ended]
        np.testing.assert_allclose(got[:, number], log_probs.sum(1), rtol=1e-4)
    assert abs(got[0, 0] - got[1, 0]) > 1e-3
