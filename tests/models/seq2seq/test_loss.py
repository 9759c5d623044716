"""Cross-entropy and z-loss against float64 NumPy."""

import jax.numpy as jnp
import numpy as np

from clinometer.models.seq2seq import loss


def reference(logits, targets, z_loss):
    logits = logits.astype(np.float64)
    log_z = np.log(np.exp(logits).sum(-1))
    sums = np.zeros(4)
    for b, t in np.ndindex(targets.shape):
        if targets[b, t] == 0:
            continue
        sums[0] += log_z[b, t] - logits[b, t, targets[b, t]]
        sums[1] += z_loss * log_z[b, t] ** 2
        sums[2] += 1
        sums[3] += logits[b, t].argmax() == targets[b, t]
    return sums


def test_equals_the_definition():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 5, 11)).astype(np.float32) * 3
    targets = rng.integers(0, 11, size=(3, 5))
    targets[0, 3:] = 0
    targets[1] = logits[1].argmax(-1)
    got = loss.cross_entropy(jnp.asarray(logits), jnp.asarray(targets), z_loss=0.01)
    np.testing.assert_allclose(got, reference(logits, targets, 0.01), rtol=1e-5)
    other = reference(logits, np.roll(targets, 1, axis=1), 0.01)
    assert not np.allclose(got, other, rtol=1e-3)


def test_the_rows_are_those_of_the_definition():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(3, 5, 11)).astype(np.float32) * 3
    targets = rng.integers(0, 11, size=(3, 5))
    got = np.stack(loss.row_cross_entropy(jnp.asarray(logits), jnp.asarray(targets)))
    assert got.shape == (4, 3)
    for row in range(3):
        here = slice(row, row + 1)
        expected = reference(logits[here], targets[here], 0.0)
        np.testing.assert_allclose(got[:, row], expected, rtol=1e-5)


def test_padding_weighs_nothing():
    logits = jnp.full((1, 4, 3), 7.0)
    assert loss.cross_entropy(logits, jnp.zeros((1, 4), int), 1.0) == (0, 0, 0, 0)


def test_large_logits_stay_finite():
    got = loss.cross_entropy(jnp.array([[[1e4, 0.0]]]), jnp.array([[1]]))
    assert got.loss_sum == 1e4


def test_the_first_of_equal_logits_is_the_prediction():
    logits = np.array([[[1, 3, 3, 2], [1, 3, 3, 2], [0, 0, 0, 0], [0, 0, 0, 0]]])
    targets = np.array([[1, 2, 1, 3]])
    got = loss.cross_entropy(jnp.float32(logits), jnp.asarray(targets))
    assert got.correct_sum == (logits.argmax(-1) == targets).sum() == 1
