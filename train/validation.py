"""Validation loss over a fixed set of rows, without dropout and z-loss."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from clinometer import models
from clinometer.train import state as state_lib
from clinometer.train.run import validation_rows


def row_losses(
    model: models.Model, num_microbatches: int
) -> Callable[[Any, models.Batch], models.Loss]:
    """Returns the evaluation step (params, batch) -> losses of the rows.

    The batch is evaluated in the same parts in which it is trained on.

    Args:
        model: the model.
        num_microbatches: number of microbatches.
    """
    if num_microbatches == 1:
        return model.row_losses

    def in_parts(params: Any, batch: models.Batch) -> models.Loss:
        parts = state_lib.parts_of(batch, num_microbatches)
        losses = jax.lax.map(lambda part: model.row_losses(params, part), parts)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), losses)

    return in_parts


def evaluate(
    eval_step: Callable[[Any, models.Batch], models.Loss],
    params: Any,
    batches: Iterable[Mapping[str, np.ndarray]],
    step: int,
    put: Callable[[Mapping[str, np.ndarray]], models.Batch] = jax.device_put,
) -> tuple[dict[str, float], validation_rows.ValidationRows]:
    """Computes the validation metrics, as means over all tokens of all batches.

    Args:
        eval_step: `row_losses` of the model, possibly compiled.
        params: the parameters.
        batches: the validation batches, on the host.
        step: number of completed training steps.
        put: puts a batch on the devices.

    Returns:
        The metrics `validation/loss` (nats per token that is not padding), its negative
        `validation/neg_log_perplexity`, `validation/accuracy` (in [0, 1]) and
        `validation/tokens`; and the losses of the rows that are not padding.

    Raises:
        ValueError: the batches hold nothing but padding.
    """
    # Fetch the losses one batch late, so that the device need not wait for the host.
    pending, fetched, digests = None, [], []
    for batch in batches:
        losses = eval_step(params, put(dict(batch)))
        digests.append(validation_rows.digests(batch))
        if pending is not None:
            fetched.append(_fetch(pending))
        pending = losses
    if pending is not None:
        fetched.append(_fetch(pending))
    # Columns: loss, correct targets, targets.
    table = np.concatenate(fetched) if fetched else np.zeros([0, 3])
    loss_sum, correct, tokens = table.sum(axis=0)
    if tokens == 0:
        raise ValueError("evaluate: the batches contain nothing but padding")
    metrics = {
        "validation/loss": loss_sum / tokens,
        "validation/neg_log_perplexity": -loss_sum / tokens,
        "validation/accuracy": correct / tokens,
        "validation/tokens": int(tokens),
    }
    real = table[:, 2] > 0
    rows = validation_rows.ValidationRows(
        step,
        np.concatenate(digests)[real],
        table[real, 0],
        table[real, 2].astype(np.int64),
    )
    return metrics, rows


def _fetch(losses: models.Loss) -> np.ndarray:
    """Returns the loss, the correct targets and the targets of each row, [B, 3]."""
    values = jax.device_get(losses)
    return np.stack(
        [values.loss_sum, values.correct_sum, values.weight_sum], axis=-1
    ).astype(np.float64)
