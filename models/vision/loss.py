"""Classification losses: softmax or sigmoid cross-entropy, smoothed and mixed labels.

Shapes: B batch, C classes.
"""

import jax
import jax.numpy as jnp

from clinometer.models import model as model_lib
from clinometer.models.vision import batch as batch_lib


def of_rows(
    logits: jax.Array,
    batch: model_lib.Batch,
    kind: str,
    label_smoothing: float = 0.0,
) -> model_lib.Loss:
    """Returns the losses of the rows, float32 [B], with a z-loss of weight 1.

    With labels y [C] that sum to 1 the softmax loss is `-sum(y log_softmax(logits))`,
    and the sigmoid loss is the sum over the classes of
    `-y log_sigmoid(logits) - (1 - y) log_sigmoid(-logits)`. The z-loss is the squared
    log-partition function of the softmax, 0 for the sigmoid.

    Args:
        logits: [B, C].
        batch: the batch.
        kind: "softmax" or "sigmoid".
        label_smoothing: share of y that is spread evenly over all classes.
    """
    logits = logits.astype(jnp.float32)
    labels = batch[batch_lib.LABELS]
    weights = (labels != batch_lib.FILLER).astype(jnp.float32)
    targets = _targets(batch, logits.shape[-1], label_smoothing)
    if kind == "softmax":
        log_z = jax.nn.logsumexp(logits, axis=-1)
        # Targets sum to 1.
        losses = log_z - jnp.sum(targets * logits, axis=-1)
        z_losses = jnp.square(log_z)
    else:
        losses = jnp.sum(jax.nn.softplus(logits) - targets * logits, axis=-1)
        z_losses = jnp.zeros_like(losses)
    correct = (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
    return model_lib.Loss(
        loss_sum=losses * weights,
        z_loss_sum=z_losses * weights,
        weight_sum=weights,
        correct_sum=correct * weights,
    )


def _targets(
    batch: model_lib.Batch, num_classes: int, label_smoothing: float
) -> jax.Array:
    """Returns the labels as float32 [B, C], whose rows sum to 1."""
    targets = jax.nn.one_hot(batch[batch_lib.LABELS], num_classes)
    if batch_lib.OTHER_LABELS in batch:
        others = jax.nn.one_hot(batch[batch_lib.OTHER_LABELS], num_classes)
        share = batch[batch_lib.OTHER_SHARES][:, None]
        targets = (1 - share) * targets + share * others
    return (1 - label_smoothing) * targets + label_smoothing / num_classes
