"""Validation loss over a fixed set of rows, without dropout and z-loss."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from clinometer import models


def make_eval_step(model: models.Model) -> Callable[[Any, models.Batch], models.Loss]:
    """Returns the pure function (params, batch) -> sums of the losses of the batch.

    Args:
        model: the model.
    """

    def eval_step(params: Any, batch: models.Batch) -> models.Loss:
        return model.loss(params, batch).sums

    return eval_step


def evaluate(
    eval_step: Callable[[Any, models.Batch], models.Loss],
    params: Any,
    batches: Iterable[Mapping[str, np.ndarray]],
) -> dict[str, float]:
    """Computes the validation metrics, as means over all tokens of all batches.

    Args:
        eval_step: from `make_eval_step`, possibly compiled.
        params: the parameters.
        batches: the validation batches, on the host.

    Returns:
        `validation/loss` (nats per token that is not padding), its negative
        `validation/neg_log_perplexity`, `validation/accuracy` (in [0, 1]) and
        `validation/tokens`.

    Raises:
        ValueError: the batches hold nothing but padding.
    """
    # Fetch the losses one batch late, so that the device need not wait for the host.
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
        raise ValueError("evaluate: the batches contain nothing but padding")
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
