"""Generates tokens one at a time."""

import jax
import jax.numpy as jnp

from clinometer.models import seq2seq

EOS_ID = 1
START_ID = 0


def greedy(
    model: seq2seq.Model,
    params: seq2seq.Params,
    encoder_input_tokens: jax.Array,
    max_decode_length: int,
    eos_id: int = EOS_ID,
) -> jax.Array:
    """Decodes the likeliest token at every step; jittable with static length.

    Stops early once every row has ended.

    Args:
        model: any encoder-decoder.
        params: its parameters.
        encoder_input_tokens: int [B, S].
        max_decode_length: T, at least 1.
        eos_id: the token that ends a row.

    Returns:
        int32 tokens [B, T]: up to and including `eos_id`, padding (0) behind it.
    """
    encoded = model.encode(params, encoder_input_tokens)
    cache = model.init_cache(params, encoded, max_decode_length)
    batch_size = encoder_input_tokens.shape[0]

    def unfinished(state):
        step, _, _, ended, _ = state
        return (step < max_decode_length) & ~jnp.all(ended)

    def advance(state):
        step, token, cache, ended, output = state
        logits, cache = model.decode_step(params, cache, token)
        token = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        token = jnp.where(ended, seq2seq.PAD_ID, token)
        output = jax.lax.dynamic_update_slice(output, token[:, None], (0, step))
        return step + 1, token, cache, ended | (token == eos_id), output

    start = (
        jnp.zeros((), jnp.int32),
        jnp.full((batch_size,), START_ID, jnp.int32),
        cache,
        jnp.zeros((batch_size,), bool),
        jnp.full((batch_size, max_decode_length), seq2seq.PAD_ID, jnp.int32),
    )
    return jax.lax.while_loop(unfinished, advance, start)[-1]
