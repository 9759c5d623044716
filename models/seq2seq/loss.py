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
    logits = logits.astype(jnp.float32)
    weights = (targets != batch_lib.PAD_ID).astype(jnp.float32)
    log_z = jax.nn.logsumexp(logits, axis=-1)
    # A masked sum instead of a gather, so that its gradient needs no scatter.
    vocabulary = jnp.arange(logits.shape[-1], dtype=targets.dtype)[None, None, :]
    is_target = vocabulary == targets[..., None]
    target_logits = jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1)
    correct = (jnp.argmax(logits, axis=-1) == targets).astype(jnp.float32)
    return model_lib.Loss(
        loss_sum=jnp.sum((log_z - target_logits) * weights),
        z_loss_sum=z_loss * jnp.sum(jnp.square(log_z) * weights),
        weight_sum=jnp.sum(weights),
        correct_sum=jnp.sum(correct * weights),
    )
