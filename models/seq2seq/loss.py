"""Token cross-entropy with T5's z-loss."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from clinometer.models.seq2seq import model as seq2seq


class Loss(NamedTuple):
    """Sums over the target tokens of a batch that are not padding; float32 scalars.

    Attributes:
        loss_sum: cross-entropy in nats.
        z_loss_sum: z_loss times the squared log-partition.
        weight_sum: number of tokens.
        correct_sum: number of tokens whose arg-max is right.
    """

    loss_sum: jax.Array
    z_loss_sum: jax.Array
    weight_sum: jax.Array
    correct_sum: jax.Array


def cross_entropy(logits: jax.Array, targets: jax.Array, z_loss: float = 0.0) -> Loss:
    """Returns the summed losses of `logits` [B, T, V] for int `targets` [B, T].

    Computed in float32; positions with target 0 (padding) weigh nothing; see
    ARCHITECTURES.md#training-loss. T5 divides `loss_sum + z_loss_sum` by B T, padding
    included; the reported negative log-perplexity is `-loss_sum / weight_sum`.
    """
    logits = logits.astype(jnp.float32)
    weights = (targets != seq2seq.PAD_ID).astype(jnp.float32)
    log_z = jax.nn.logsumexp(logits, axis=-1)
    # A masked sum, not a gather: its gradient is a select instead of a scatter.
    vocabulary = jnp.arange(logits.shape[-1], dtype=targets.dtype)[None, None, :]
    is_target = vocabulary == targets[..., None]
    target_logits = jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1)
    correct = (jnp.argmax(logits, axis=-1) == targets).astype(jnp.float32)
    return Loss(
        loss_sum=jnp.sum((log_z - target_logits) * weights),
        z_loss_sum=z_loss * jnp.sum(jnp.square(log_z) * weights),
        weight_sum=jnp.sum(weights),
        correct_sum=jnp.sum(correct * weights),
    )
