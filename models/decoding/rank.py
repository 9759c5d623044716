"""Scores given targets by their likelihood, for classification by ranking.

Shapes: B batch, S encoder length, N targets, T length of the longest.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.models.decoding import cache as cache_lib
from clinometer.models.decoding import stepwise
from clinometer.models.seq2seq import batch as batch_lib
from clinometer.models.seq2seq import model as seq2seq


def pack_targets(
    targets: Sequence[Sequence[int]], vocab_size: int, eos_id: int = stepwise.EOS_ID
) -> np.ndarray:
    """Packs targets into an array, padded after EOS, which is added if missing.

    Args:
        targets: token ids of each possible target.
        vocab_size: vocabulary size of the model.
        eos_id: the token that ends every target.

    Returns:
        int32 [N, T].

    Raises:
        ValueError: there are no targets, a target is empty or a duplicate, or it
            contains EOS before its end, padding, or a token outside of the vocabulary.
    """
    if not len(targets):
        raise ValueError("pack_targets: targets: must not be empty")
    ended: dict[tuple[int, ...], int] = {}
    for number, target in enumerate(targets):
        ids = tuple(int(token) for token in target)
        for token in ids:
            if not 0 < token < vocab_size:
                raise ValueError(
                    f"pack_targets: target {number}: token {token} is not in "
                    f"[1, {vocab_size}), the vocabulary without padding"
                )
        if ids[-1:] != (eos_id,):
            ids += (eos_id,)
        if eos_id in ids[:-1]:
            raise ValueError(
                f"pack_targets: target {number}: contains EOS, {eos_id}, before its "
                f"end: {ids}"
            )
        if len(ids) == 1:
            raise ValueError(f"pack_targets: target {number}: has no tokens")
        if ids in ended:
            raise ValueError(
                f"pack_targets: target {number}: has the same tokens as target "
                f"{ended[ids]}: {ids}"
            )
        ended[ids] = number
    packed = np.full((len(ended), max(map(len, ended))), batch_lib.PAD_ID, np.int32)
    for number, ids in enumerate(ended):
        packed[number, : len(ids)] = ids
    return packed


def score_targets(
    model: seq2seq.EncoderDecoder,
    params: seq2seq.Params,
    encoder_input_tokens: jax.Array,
    targets: jax.Array,
    mean_per_token: bool = False,
) -> jax.Array:
    """Returns the log-likelihood of each target given each input; can be jitted.

    The encoder runs once for all targets. The decoder runs on B N rows step by step, as
    in generation, so that rows do not depend on each other (see `stepwise.generate`).

    Args:
        model: any encoder-decoder.
        params: its parameters.
        encoder_input_tokens: int [B, S]; rows that consist of padding are filler.
        targets: int [N, T] from `pack_targets`, the same for all rows; or [B, N, T].
        mean_per_token: divide by the number of tokens of the target, including EOS, so
            that long targets are not at a disadvantage.

    Returns:
        float32 [B, N], in nats; the largest score of a row is the answer. 0 for filler
        and for targets that consist of padding, NaN for a token outside of the
        vocabulary.

    Raises:
        ValueError: targets have another shape.
    """
    shape = jnp.shape(targets)
    stepwise.check("score_targets", encoder_input_tokens, shape[-1] if shape else 0)
    batch_size = encoder_input_tokens.shape[0]
    if (
        len(shape) not in (2, 3)
        or shape[-2] < 1
        or (len(shape) == 3 and shape[0] != batch_size)
    ):
        raise ValueError(
            "score_targets: targets: must be [N, T] or [B, N, T] with N at least 1 and "
            f"B = {batch_size}, got {list(shape)}"
        )
    num_targets, length = shape[-2:]
    targets = jnp.broadcast_to(
        jnp.asarray(targets, jnp.int32).reshape(-1, num_targets, length),
        (batch_size, num_targets, length),
    ).reshape(-1, length)

    encoded = model.encode(params, encoder_input_tokens)
    axes = cache_lib.row_axes(model, params, encoded, length)
    cache = cache_lib.take_rows(
        model.init_cache(params, encoded, length),
        axes,
        jnp.repeat(jnp.arange(batch_size), num_targets),
    )

    def advance(state, wanted):
        cache, fed, scores = state
        logits, cache = model.decode_step(params, cache, fed)
        gains = stepwise.token_log_probs(logits, wanted)
        scores += jnp.where(wanted == batch_lib.PAD_ID, 0.0, gains)
        return (cache, wanted, scores), None

    rows = targets.shape[0]
    start = (
        cache,
        jnp.full((rows,), stepwise.START_ID, jnp.int32),
        jnp.zeros((rows,), jnp.float32),
    )
    (_, _, scores), _ = jax.lax.scan(advance, start, targets.T)
    if mean_per_token:
        scores /= jnp.maximum(jnp.sum(targets != batch_lib.PAD_ID, axis=1), 1)
    scores = scores.reshape(batch_size, num_targets)
    filler = stepwise.is_filler(encoder_input_tokens)
    return jnp.where(filler[:, None], 0.0, scores)
