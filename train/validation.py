"""Validation loss over a fixed set of rows: all of them, without dropout or z-loss."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from clinometer import models


def make_eval_step(model: models.Model) -> Callable[[Any, models.Batch], models.Loss]:
    """Returns the pure function (params, batch) -> summed losses of the batch."""

    def eval_step(params: Any, batch: models.Batch) -> models.Loss:
        return model.loss(params, batch).sums

    return eval_step


def evaluate(
    eval_step: Callable[[Any, models.Batch], models.Loss],
    params: Any,
    batches: Iterable[Mapping[str, np.ndarray]],
) -> dict[str, float]:
    """Returns the metrics of `batches`, each token weighing the same.

    Returns:
        `validation/loss` (nats per token that is not padding), its negative
        `validation/neg_log_perplexity`, `validation/accuracy`, `validation/tokens`.
    """
    # Fetched one batch late, so that the device never waits for the host.
    pending, sums = None, np.zeros(3)
    for batch in batches:
        losses = eval_step(params, jax.device_put(dict(batch)))
        if pending is not None:
            sums += _fetch(pending)
        pending = losses
    if pending is not None:
        sums += _fetch(pending)
    loss_sum, correct, tokens = sums
    if tokens == 0:
        raise ValueError("evaluate: no batch holds a token that is not padding")
    return {
        "validation/loss": loss_sum / tokens,
        "validation/neg_log_perplexity": -loss_sum / tokens,
        "validation/accuracy": correct / tokens,
        "validation/tokens": int(tokens),
    }


def _fetch(losses: models.Loss) -> np.ndarray:
    values = jax.device_get(losses)
    return np.array(
        [values.loss_sum, values.correct_sum, values.weight_sum], dtype=np.float64
    )
