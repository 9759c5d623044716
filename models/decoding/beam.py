"""Beam search with a length penalty (ARCHITECTURES.md#transformer-decoding).

The rules are Mesh TensorFlow's: of the 2 K most likely extensions of K live beams,
those that end are scored by `log-likelihood / ((5 + length) / 6)^alpha`, where the
length includes EOS, and the K most likely of the others stay live. The result is the
best sequence that ended, or, if none did within T tokens, the most likely live beam,
here with the length penalty of T (Mesh TensorFlow returns its log-likelihood). A row is
settled once no live beam can become the best: log-likelihoods only decrease, and no
penalty is larger than that of T. With one beam, this is greedy decoding.

Shapes: B batch, S encoder length, T decoder length, K beams, V vocabulary.
"""

import math
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp

from clinometer.models.decoding import cache as cache_lib
from clinometer.models.decoding import stepwise
from clinometer.models.seq2seq import batch as batch_lib
from clinometer.models.seq2seq import model as seq2seq


class _State(NamedTuple):
    step: jax.Array
    last: jax.Array  # [B * K], the tokens of the previous step
    cache: seq2seq.Cache  # of B * K rows
    live_tokens: jax.Array  # [B, K, T]
    live_log_probs: jax.Array  # [B, K], in descending order
    best_tokens: jax.Array  # [B, T], the best sequence that ended
    best_scores: jax.Array  # [B], -inf until a sequence ends


def length_penalty(length: jax.Array | int, alpha: float) -> jax.Array:
    """Returns the divisor of log-likelihoods, ((5 + length) / 6)^alpha."""
    return jnp.power((5.0 + jnp.asarray(length, jnp.float32)) / 6.0, alpha)


def beam_search(
    model: seq2seq.EncoderDecoder,
    params: seq2seq.Params,
    encoder_input_tokens: jax.Array,
    max_decode_length: int,
    beam_size: int = 4,
    alpha: float = 0.6,
    eos_id: int = stepwise.EOS_ID,
) -> stepwise.Decoded:
    """Decodes with beam search; can be jitted with static options.

    Rows do not depend on each other (see `stepwise.generate`). The decoder runs on B K
    rows, and its state has as many.

    Args:
        model: any encoder-decoder.
        params: its parameters.
        encoder_input_tokens: int [B, S]; rows that consist of padding are filler.
        max_decode_length: T, at least 1.
        beam_size: K, at least 1.
        alpha: exponent of the length penalty; 0 for none, larger values prefer longer
            sequences.
        eos_id: the token that ends a row.

    Returns:
        Tokens [B, T] and length-penalised scores [B].

    Raises:
        ValueError: an option is out of range.
    """
    stepwise.check("beam_search", encoder_input_tokens, max_decode_length)
    if beam_size < 1:
        raise ValueError(f"beam_search: beam_size: must be at least 1, got {beam_size}")
    if not 0 <= alpha < math.inf:
        raise ValueError(
            f"beam_search: alpha: must be finite and not negative, got {alpha}"
        )
    if beam_size == 1:
        decoded = stepwise.generate(
            model, params, encoder_input_tokens, max_decode_length, eos_id=eos_id
        )
        lengths = _lengths(decoded.tokens, eos_id)
        scores = decoded.scores / length_penalty(lengths, alpha)
        return decoded._replace(scores=scores)

    batch_size = encoder_input_tokens.shape[0]
    filler = stepwise.is_filler(encoder_input_tokens)
    encoded = model.encode(params, encoder_input_tokens)
    cache = model.init_cache(params, encoded, max_decode_length)
    axes = cache_lib.row_axes(model, params, encoded, max_decode_length)
    every_row = jnp.repeat(jnp.arange(batch_size), beam_size)
    first_beam = beam_size * jnp.arange(batch_size)[:, None]  # [B, 1]
    last_penalty = length_penalty(max_decode_length, alpha)

    def unsettled(state: _State) -> jax.Array:
        settled = state.best_scores >= state.live_log_probs[:, 0] / last_penalty
        return (state.step < max_decode_length) & ~jnp.all(settled | filler)

    def advance(state: _State) -> _State:
        logits, cache = model.decode_step(params, state.cache, state.last)
        if logits.shape[-1] < 2:
            raise ValueError("beam_search: needs a vocabulary of at least 2 tokens")
        log_probs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
        log_probs = log_probs.reshape(batch_size, beam_size, -1)
        totals = state.live_log_probs[:, :, None] + log_probs
        totals, indices = jax.lax.top_k(
            totals.reshape(batch_size, -1), 2 * beam_size
        )  # [B, 2 K]
        parents, tokens = jnp.divmod(indices, log_probs.shape[-1])
        ends = tokens == eos_id

        # The best of the extensions that end, which all have the same length.
        ended = jnp.where(ends, totals, -jnp.inf)
        candidate = jnp.argmax(ended, axis=1)[:, None]
        scores = _pick(ended, candidate)[:, 0]
        scores /= length_penalty(state.step + 1, alpha)
        is_better = scores > state.best_scores
        ended_tokens = _extend(
            state.live_tokens, _pick(parents, candidate), eos_id, state.step
        )[:, 0]

        live_log_probs, kept = jax.lax.top_k(
            jnp.where(ends, -jnp.inf, totals), beam_size
        )
        parents, tokens = _pick(parents, kept), _pick(tokens, kept)
        return _State(
            state.step + 1,
            tokens.reshape(-1),
            cache_lib.take_rows(cache, axes, (first_beam + parents).reshape(-1)),
            _extend(state.live_tokens, parents, tokens, state.step),
            live_log_probs,
            jnp.where(is_better[:, None], ended_tokens, state.best_tokens),
            jnp.where(is_better, scores, state.best_scores),
        )

    empty = jnp.full(
        (batch_size, beam_size, max_decode_length), batch_lib.PAD_ID, jnp.int32
    )
    # Only one beam is live at first, as equal beams would stay equal.
    alone = jnp.where(jnp.arange(beam_size) == 0, 0.0, -jnp.inf)
    end = jax.lax.while_loop(
        unsettled,
        advance,
        _State(
            jnp.zeros((), jnp.int32),
            jnp.full((batch_size * beam_size,), stepwise.START_ID, jnp.int32),
            cache_lib.take_rows(cache, axes, every_row),
            empty,
            jnp.broadcast_to(alone[None], (batch_size, beam_size)),
            empty[:, 0],
            jnp.full((batch_size,), -jnp.inf),
        ),
    )
    has_ended = end.best_scores > -jnp.inf
    tokens = jnp.where(has_ended[:, None], end.best_tokens, end.live_tokens[:, 0])
    unended_scores = end.live_log_probs[:, 0] / last_penalty
    scores = jnp.where(has_ended, end.best_scores, unended_scores)
    return stepwise.Decoded(
        jnp.where(filler[:, None], batch_lib.PAD_ID, tokens),
        jnp.where(filler, 0.0, scores),
    )


def _pick(values: jax.Array, indices: jax.Array) -> jax.Array:
    """Picks values [B, N] at indices [B, K]; returns [B, K]."""
    return jnp.take_along_axis(values, indices, axis=1)


def _extend(
    sequences: jax.Array, parents: jax.Array, tokens: Any, step: jax.Array
) -> jax.Array:
    """Returns the sequences [B, N, T] of parents [B, N] with tokens at `step`."""
    taken = jnp.take_along_axis(sequences, parents[:, :, None], axis=1)
    return taken.at[:, :, step].set(tokens)


def _lengths(tokens: jax.Array, eos_id: int) -> jax.Array:
    """Returns the lengths, int [B], up to and including EOS; T without EOS."""
    before = jnp.cumsum(tokens == eos_id, axis=1) - (tokens == eos_id)
    return jnp.sum(before == 0, axis=1)
