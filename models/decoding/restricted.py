"""Decodes from the vocabulary alone, not from the rows that pad a model's table.

Shapes: B batch, V vocabulary.
"""

import jax

from clinometer.models.seq2seq import model as seq2seq


class Restricted:
    """A model of the first V tokens, which takes a model's place in all of `decoding`.

    Embedding tables are padded to whole tiles. The rows behind the vocabulary are no
    tokens, but have logits: left out here, they are never drawn, and likelihoods are
    over the vocabulary.

    Attributes:
        config: the model's, whose `vocab_size` counts the padding.
    """

    def __init__(self, model: seq2seq.EncoderDecoder, vocab_size: int):
        """Restricts `model`; raises ValueError unless it has `vocab_size` tokens."""
        if not 2 <= vocab_size <= model.config.vocab_size:
            raise ValueError(
                "Restricted: vocab_size: must lie in [2, "
                f"{model.config.vocab_size}], the model's tokens, got {vocab_size}"
            )
        self.config = model.config
        self.encode = model.encode
        self.init_cache = model.init_cache
        self._decode_step = model.decode_step
        self._vocab_size = vocab_size

    def decode_step(
        self, params: seq2seq.Params, cache: seq2seq.Cache, tokens: jax.Array
    ) -> tuple[jax.Array, seq2seq.Cache]:
        """Feeds one token a row, int [B]; returns logits [B, V] and the state."""
        logits, cache = self._decode_step(params, cache, tokens)
        return logits[:, : self._vocab_size], cache
