"""Tests of classification losses against SciPy, in float64."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from clinometer.models.vision import batch as batch_lib
from clinometer.models.vision import loss

_LOGITS = np.random.default_rng(0).normal(scale=2, size=(5, 4))
_LABELS = np.array([0, 3, 2, batch_lib.FILLER, 1], np.int32)


def _batch(mixed):
    images = np.zeros((5, 2, 2, 3), np.uint8)
    if not mixed:
        return batch_lib.make(images, _LABELS)
    others = np.array([1, 3, 0, 0, 2], np.int32)
    shares = np.array([0.25, 0.5, 0.0, 0.1, 0.4], np.float32)
    return batch_lib.make(images.astype(np.float32), _LABELS, others, shares)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("mixed", [False, True])
def test_losses(kind, smoothing, mixed):
    batch = _batch(mixed)
    targets = np.zeros((5, 4))
    for row, label in enumerate(_LABELS):
        if label == batch_lib.FILLER:
            continue
        share = float(batch["other_shares"][row]) if mixed else 0.0
        targets[row, label] += 1 - share
        if mixed:
            targets[row, batch["other_labels"][row]] += share
    targets = (1 - smoothing) * targets + smoothing / 4
    if kind == "softmax":
        expected = -np.sum(targets * special.log_softmax(_LOGITS, axis=1), axis=1)
    else:
        expected = -np.sum(
            targets * special.log_expit(_LOGITS)
            + (1 - targets) * special.log_expit(-_LOGITS),
            axis=1,
        )
    real = _LABELS != batch_lib.FILLER
    rows = loss.of_rows(jnp.float32(_LOGITS), batch, kind, smoothing)
    np.testing.assert_allclose(rows.loss_sum, expected * real, rtol=1e-5)
    np.testing.assert_array_equal(rows.weight_sum, real)
    np.testing.assert_array_equal(
        rows.correct_sum, real & (_LOGITS.argmax(1) == _LABELS)
    )
    log_z = special.logsumexp(_LOGITS, axis=1) if kind == "softmax" else 0 * real
    np.testing.assert_allclose(rows.z_loss_sum, log_z**2 * real, rtol=1e-5)
