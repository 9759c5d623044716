"""Restricts decoding to the vocabulary, without the rows that pad a model's table.

Shapes: B batch, V vocabulary.
"""

import jax

from clinometer.models.seq2seq import model as seq2seq


class Restricted:
    """Wraps a model and keeps only the logits of the first V tokens.

    Embedding tables are padded to whole tiles. The rows beyond the vocabulary are not
    tokens, but have logits. Without them, they are never generated, and likelihoods are
    normalised over the vocabulary. All functions of `decoding` accept the wrapper
    instead of a model.

    Attributes:
        config: config of the model, whose `vocab_size` includes the padding.
    """

    def __init__(self, model: seq2seq.EncoderDecoder, vocab_size: int):
        """Wraps a model.

        Args:
            model: any encoder-decoder.
            vocab_size: V.

        Raises:
            ValueError: `vocab_size` is less than 2 or larger than that of the model.
        """
        if not 2 <= vocab_size <= model.config.vocab_size:
            raise ValueError(
                "Restricted: vocab_size: must lie in [2, "
                f"{model.config.vocab_size}], the size of the model's embedding table; "
                f"got {vocab_size}"
            )
        self.config = model.config
        self.encode = model.encode
        self.init_cache = model.init_cache
        self._decode_step = model.decode_step
        self._vocab_size = vocab_size

    def decode_step(
        self, params: seq2seq.Params, cache: seq2seq.Cache, tokens: jax.Array
    ) -> tuple[jax.Array, seq2seq.Cache]:
        """Decodes one step; see `EncoderDecoder.decode_step`."""
        logits, cache = self._decode_step(params, cache, tokens)
        return logits[:, : self._vocab_size], cache
