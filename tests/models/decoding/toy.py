"""A toy decoder whose logits depend on all previous tokens, and its references.

It implements the methods of a model that decoding uses. The references are plain Python
in float64, which evaluate prefixes without caches.

Shapes: B batch, S encoder length, T decoder length, V vocabulary, M rows of the table.
"""

from collections.abc import Callable
from collections.abc import Sequence
import itertools
import types
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from clinometer.models.seq2seq import model as seq2seq

EOS = 1
NUM_ROWS = 997  # M
WEIGHTS = np.array([31, 101, 211, 307, 401, 503, 601, 701, 809, 907], np.int32)

Prefix = tuple[int, ...]
# Prefixes of one length -> log-probabilities of the next token, float64 [N, V].
LogProbs = Callable[[Sequence[Prefix]], np.ndarray]


class Toy:
    """`logits = table[hash(input, tokens so far) % M]`.

    In its state, the rows are the first axis of one leaf, the second axis of another,
    and no axis of two more.
    """

    name = "toy"

    def __init__(self, vocab_size: int, seed: int = 0, scale: float = 2.0):
        draw = np.random.default_rng(seed).normal(size=(NUM_ROWS, vocab_size))
        self.params = {"toy": {"table": jnp.asarray(scale * draw, jnp.float32)}}
        self.config = types.SimpleNamespace(vocab_size=vocab_size)

    def encode(self, params, tokens):
        del params
        memory = jnp.sum(tokens, axis=1)[:, None, None].astype(jnp.float32)
        return seq2seq.Encoded(memory, (tokens[:, :1] != 0).astype(jnp.int32))

    def init_cache(self, params, encoded, max_decode_length):
        del params
        batch_size = encoded.memory.shape[0]
        return {
            "layers": (
                encoded.memory[:, 0, 0].astype(jnp.int32),
                jnp.zeros((1, batch_size, max_decode_length), jnp.int32),
            ),
            "mean": jnp.zeros((2,)),
            "index": jnp.zeros((), jnp.int32),
        }

    def decode_step(self, params, cache, tokens):
        (context, history), index = cache["layers"], cache["index"]
        history = history.at[0, :, index].set(tokens + 1)
        weights = jnp.asarray(WEIGHTS[: history.shape[2]])
        hashed = context + jnp.sum(history[0] * weights[None], axis=1)
        logits = params["toy"]["table"][hashed % NUM_ROWS]
        layers = (context, history)
        return logits, {**cache, "layers": layers, "index": index + 1}

    def log_probs(self, inputs: Sequence[int]) -> LogProbs:
        """Returns the distribution after prefixes, given the encoder's tokens."""
        table = np.asarray(self.params["toy"]["table"], np.float64)

        def after(prefixes: Sequence[Prefix]) -> np.ndarray:
            logits = [table[place(inputs, prefix)] for prefix in prefixes]
            return log_softmax(np.array(logits))

        return after


def place(inputs: Sequence[int], prefix: Sequence[int]) -> int:
    """Returns the row of the table that holds the logits after a prefix."""
    fed = np.array([0, *prefix]) + 1
    return (sum(inputs) + int((fed * WEIGHTS[: len(fed)]).sum())) % NUM_ROWS


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Normalises the last axis, in float64."""
    logits = np.asarray(logits, np.float64)
    most = logits.max(-1, keepdims=True)
    return logits - most - np.log(np.exp(logits - most).sum(-1, keepdims=True))


def penalty(length: int, alpha: float) -> float:
    """Returns ((5 + length) / 6)^alpha."""
    return ((5 + length) / 6) ** alpha


def likelihood(log_probs: LogProbs, tokens: Sequence[int]) -> float:
    """Returns the log-likelihood of a sequence, token by token."""
    return sum(
        log_probs([tuple(tokens[:place])])[0, token]
        for place, token in enumerate(tokens)
    )


def best_of_all(
    log_probs: LogProbs, vocab_size: int, max_length: int, alpha: float
) -> tuple[list[int], float]:
    """Enumerates all sequences that end; returns the best and its penalised score."""
    others = [token for token in range(vocab_size) if token != EOS]
    sequences = [
        [*prefix, EOS]
        for length in range(max_length)
        for prefix in itertools.product(others, repeat=length)
    ]
    scores = [
        likelihood(log_probs, tokens) / penalty(len(tokens), alpha)
        for tokens in sequences
    ]
    best = int(np.argmax(scores))
    return sequences[best], scores[best]


class Found(NamedTuple):
    """The result of beam search.

    Attributes:
        tokens: tokens of the result.
        score: its penalised log-likelihood.
        margin: smallest difference between a beam that was kept or ended and one that
            was dropped; if it is tiny, rounding decides.
    """

    tokens: list[int]
    score: float
    margin: float


def search(log_probs: LogProbs, max_length: int, beam_size: int, alpha: float) -> Found:
    """Runs beam search by its definition to the last step, without stopping early."""
    live: list[tuple[float, Prefix]] = [(0.0, ())]
    ended: list[tuple[float, Prefix]] = []
    margin = np.inf
    for length in range(1, max_length + 1):
        following = log_probs([prefix for _, prefix in live])
        grown = [
            (total + gain, (*prefix, token))
            for (total, prefix), row in zip(live, following, strict=True)
            for token, gain in enumerate(row)
        ]
        grown.sort(key=lambda pair: -pair[0])
        going_on = [pair for pair in grown if pair[1][-1] != EOS]
        for pairs, kept in ((grown, 2 * beam_size), (going_on, beam_size)):
            for above, below in itertools.pairwise(pairs[kept - 1 : kept + 1]):
                margin = min(margin, above[0] - below[0])
        ended += [
            (total / penalty(length, alpha), prefix)
            for total, prefix in grown[: 2 * beam_size]
            if prefix[-1] == EOS
        ]
        live = going_on[:beam_size]
    if ended:
        score, prefix = max(ended)
    else:
        total, prefix = live[0]
        score = total / penalty(max_length, alpha)
    return Found(list(prefix), score, margin)


def padded(tokens: Sequence[int], length: int) -> list[int]:
    """Pads tokens to a length."""
    return [*tokens, *[0] * (length - len(tokens))]
