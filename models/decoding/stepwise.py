"""Generates tokens one at a time.

Shapes: B batch, S encoder length, T decoder length, V vocabulary.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from clinometer.models.seq2seq import batch as batch_lib
from clinometer.models.seq2seq import model as seq2seq

EOS_ID = 1
START_ID = 0

# (logits [B, V], step) -> tokens int [B]
Choose = Callable[[jax.Array, jax.Array], jax.Array]


class Decoded(NamedTuple):
    """Decoded sequences.

    Attributes:
        tokens: int32 [B, T], up to and including EOS, followed by padding (0); T tokens
            without EOS if a row did not end.
        scores: float32 [B], log-likelihood of the tokens under the model in nats; in
            beam search divided by the length penalty.
    """

    tokens: jax.Array
    scores: jax.Array


def check(caller: str, encoder_input_tokens: jax.Array, max_decode_length: int) -> None:
    """Raises ValueError unless the tokens are int [B, S] and the length positive."""
    if encoder_input_tokens.ndim != 2 or not jnp.issubdtype(
        encoder_input_tokens.dtype, jnp.integer
    ):
        raise ValueError(
            f"{caller}: encoder_input_tokens: must be integers [B, S], got "
            f"{encoder_input_tokens.dtype} {list(encoder_input_tokens.shape)}"
        )
    if max_decode_length < 1:
        raise ValueError(
            f"{caller}: max_decode_length: must be at least 1, got {max_decode_length}"
        )


def is_filler(encoder_input_tokens: jax.Array) -> jax.Array:
    """Returns bool [B], True for rows that consist of padding and only fill a batch.

    Nothing is decoded for these rows, so they need no steps; their result is padding
    with a score of 0.
    """
    return jnp.all(encoder_input_tokens == batch_lib.PAD_ID, axis=1)


def likeliest(logits: jax.Array, step: jax.Array) -> jax.Array:
    """Returns the tokens with the largest logits, int [B]."""
    del step
    return jnp.argmax(logits, axis=-1)


def generate(
    model: seq2seq.EncoderDecoder,
    params: seq2seq.Params,
    encoder_input_tokens: jax.Array,
    max_decode_length: int,
    choose: Choose = likeliest,
    eos_id: int = EOS_ID,
) -> Decoded:
    """Decodes one token per row and step; can be jitted with a static length.

    Stops once every row has ended. Rows do not depend on each other (except in the
    encoder of a Switch Transformer, whose experts have a limited capacity).

    Args:
        model: any encoder-decoder.
        params: its parameters.
        encoder_input_tokens: int [B, S]; rows that consist of padding are filler.
        max_decode_length: T, at least 1.
        choose: (logits [B, V], step) -> next tokens, int [B].
        eos_id: the token that ends a row.

    Returns:
        Tokens [B, T] and their log-likelihoods [B].

    Raises:
        ValueError: the tokens are not int [B, S], or the length is less than 1.
    """
    check("generate", encoder_input_tokens, max_decode_length)
    encoded = model.encode(params, encoder_input_tokens)
    cache = model.init_cache(params, encoded, max_decode_length)
    batch_size = encoder_input_tokens.shape[0]

    def unfinished(state):
        step, _, _, ended, _, _ = state
        return (step < max_decode_length) & ~jnp.all(ended)

    def advance(state):
        step, token, cache, ended, output, scores = state
        logits, cache = model.decode_step(params, cache, token)
        token = choose(logits, step).astype(jnp.int32)
        gains = token_log_probs(logits, token)
        scores += jnp.where(ended, 0.0, gains)
        token = jnp.where(ended, batch_lib.PAD_ID, token)
        output = jax.lax.dynamic_update_slice(output, token[:, None], (0, step))
        return step + 1, token, cache, ended | (token == eos_id), output, scores

    start = (
        jnp.zeros((), jnp.int32),
        jnp.full((batch_size,), START_ID, jnp.int32),
        cache,
        is_filler(encoder_input_tokens),
        jnp.full((batch_size, max_decode_length), batch_lib.PAD_ID, jnp.int32),
        jnp.zeros((batch_size,), jnp.float32),
    )
    return Decoded(*jax.lax.while_loop(unfinished, advance, start)[-2:])


def greedy(
    model: seq2seq.EncoderDecoder,
    params: seq2seq.Params,
    encoder_input_tokens: jax.Array,
    max_decode_length: int,
    eos_id: int = EOS_ID,
) -> jax.Array:
    """Returns the tokens of `generate`, int32 [B, T]: the most likely at every step."""
    return generate(
        model, params, encoder_input_tokens, max_decode_length, eos_id=eos_id
    ).tokens


def token_log_probs(logits: jax.Array, tokens: jax.Array) -> jax.Array:
    """Returns the log-probabilities of tokens [B] given logits [B, V], float32 [B].

    They are NaN for tokens outside of the vocabulary.
    """
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    return jnp.take_along_axis(log_probs, tokens[:, None], axis=1, mode="fill")[:, 0]
