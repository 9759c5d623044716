"""Tests of the evaluation step in microbatches."""

import jax
import numpy as np

from clinometer import models
from clinometer.train import validation


def test_the_losses_of_rows_do_not_depend_on_the_parts():
    model = models.build("transformer-NL1-PI", vocab_size=64, dropout_rate=0.0)
    params = model.init(jax.random.key(0))
    batch = model.random_batch(0, 6, models.TextShape(8, 4))
    whole, parts = (
        jax.jit(validation.row_losses(model, number))(params, batch)
        for number in (1, 3)
    )
    # Other sizes of products may sum in another order: some 1e-7 of a sum of 4 losses.
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=3e-6), whole, parts)
    # The rows differ from each other, so that their order shows.
    losses = np.asarray(parts.loss_sum)
    assert losses.shape == (6,)
    assert np.abs(losses - np.roll(losses, 2)).min() > 1e-3
