"""Token cross-entropy with T5's z-loss."""

import jax
import jax.numpy as jnp

from clinometer.models import model as model_lib
from clinometer.models.seq2seq import batch as batch_lib


def cross_entropy(
    logits: jax.Array, targets: jax.Array, z_loss: float = 0.0
) -> model_lib.Loss:
    """Returns the cross-entropy and z-loss, summed over the targets, in float32.

    T5 divides `loss_sum + z_loss_sum` by B T, padding included; the reported negative
    log-perplexity is `-loss_sum / weight_sum`. See ARCHITECTURES.md#training-loss.

    Args:
        logits: [B, T, V].
        targets: int [B, T]; positions with target 0 (padding) have no weight.
        z_loss: weight of the z-loss.
    """
    sums = jax.tree.map(jnp.sum, _by_target(logits, targets))
    return sums._replace(z_loss_sum=z_loss * sums.z_loss_sum)


def row_cross_entropy(logits: jax.Array, targets: jax.Array) -> model_lib.Loss:
    """Returns the cross-entropy, summed over the targets of each row, float32 [B].

    There is no z-loss: its sums are 0.

    Args:
        logits: [B, T, V].
        targets: int [B, T]; positions with target 0 (padding) have no weight.
    """
    by_target = _by_target(logits, targets)
    rows = jax.tree.map(lambda x: jnp.sum(x, axis=-1), by_target)
    return rows._replace(z_loss_sum=jnp.zeros_like(rows.z_loss_sum))


def _by_target(logits: jax.Array, targets: jax.Array) -> model_lib.Loss:
    """Returns the terms of the sums, with a z-loss of weight 1, float32 [B, T]."""
    logits = logits.astype(jnp.float32)
    weights = (targets != batch_lib.PAD_ID).astype(jnp.float32)
    log_z = jax.nn.logsumexp(logits, axis=-1)
    # A masked sum instead of a gather, so that its gradient needs no scatter.
    vocabulary = jnp.arange(logits.shape[-1], dtype=targets.dtype)[None, None, :]
    is_target = vocabulary == targets[..., None]
    target_logits = jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1)
    # The same as `argmax(logits) == targets`: no logit is larger, and no earlier one is
    # equal. In XLA for CPUs argmax is slow, 4 ns per logit.
    beaten = jnp.where(
        vocabulary < targets[..., None],
        logits >= target_logits[..., None],
        logits > target_logits[..., None],
    )
    correct = 1.0 - jnp.any(beaten, axis=-1).astype(jnp.float32)
    return model_lib.Loss(
        loss_sum=(log_z - target_logits) * weights,
        z_loss_sum=jnp.square(log_z) * weights,
        weight_sum=weights,
        correct_sum=correct * weights,
    )
