"""Samples from the model's distribution, with temperature, top-k and top-p.

Shapes: B batch, S encoder length, T decoder length, V vocabulary.
"""

import math

import jax
import jax.numpy as jnp

from clinometer.models.decoding import stepwise
from clinometer.models.seq2seq import model as seq2seq

# With a lower temperature, logits overflow.
LEAST_TEMPERATURE = 1e-6


def sample(
    model: seq2seq.EncoderDecoder,
    params: seq2seq.Params,
    encoder_input_tokens: jax.Array,
    max_decode_length: int,
    key: jax.Array,
    row_ids: jax.Array | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    eos_id: int = stepwise.EOS_ID,
) -> stepwise.Decoded:
    """Samples each token; can be jitted with static options.

    The draws of a row depend only on `key`, its row id and its logits, so it gets the
    same tokens in any batch and at any place in it.

    Args:
        model: any encoder-decoder.
        params: its parameters.
        encoder_input_tokens: int [B, S]; rows that consist of padding are filler.
        max_decode_length: T, at least 1.
        key: random key.
        row_ids: int [B], identifiers of the rows; None for 0, 1, 2, ...
        temperature: divisor of the logits, at least `LEAST_TEMPERATURE`.
        top_k: sample only from the k most likely tokens; 0 for all.
        top_p: sample only from the smallest set of most likely tokens whose total
            probability is at least top_p, after temperature and `top_k`; 1 for all.
        eos_id: the token that ends a row.

    Returns:
        Tokens [B, T] and their log-likelihoods [B] under the unmodified distribution of
        the model.

    Raises:
        ValueError: an option is out of range.
    """
    stepwise.check("sample", encoder_input_tokens, max_decode_length)
    if not LEAST_TEMPERATURE <= temperature < math.inf:
        raise ValueError(
            f"sample: temperature: must be at least {LEAST_TEMPERATURE:g} and finite, "
            f"got {temperature}; use greedy for the most likely tokens"
        )
    if not 0 < top_p <= 1:
        raise ValueError(f"sample: top_p: must lie in (0, 1], got {top_p}")
    if row_ids is None:
        row_ids = jnp.arange(encoder_input_tokens.shape[0])
    row_keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, row_ids)

    def choose(logits: jax.Array, step: jax.Array) -> jax.Array:
        num_tokens = logits.shape[-1]
        if not 0 <= top_k <= num_tokens:
            raise ValueError(
                f"sample: top_k: must lie in [0, {num_tokens}], the number of tokens; "
                f"got {top_k}"
            )

        def draw(row_key: jax.Array) -> jax.Array:
            step_key = jax.random.fold_in(row_key, step)
            return jax.random.gumbel(step_key, (num_tokens,), jnp.float32)

        noise = jax.vmap(draw)(row_keys)
        logits = logits.astype(jnp.float32) / temperature
        if top_k == 0 and top_p == 1:
            return jnp.argmax(logits + noise, axis=-1)
        logits, tokens = jax.lax.top_k(logits, top_k or num_tokens)
        probabilities = jax.nn.softmax(logits, axis=-1)
        before = jnp.cumsum(probabilities, axis=-1) - probabilities
        logits = jnp.where(before < top_p, logits, -jnp.inf)
        # Noise is drawn per token, not per rank, which rounding could change.
        noise = jnp.take_along_axis(noise, tokens, axis=1)
        drawn = jnp.argmax(logits + noise, axis=-1)
        return jnp.take_along_axis(tokens, drawn[:, None], axis=1)[:, 0]

    return stepwise.generate(
        model, params, encoder_input_tokens, max_decode_length, choose, eos_id
    )
