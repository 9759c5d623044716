"""Makes predictions as their options ask, for a vocabulary to read."""

import jax
import numpy as np

from clinometer import models
from clinometer.data.store import vocabulary as vocabulary_lib
from clinometer.models import decoding
from clinometer.train.downstream import options as options_lib


def function(
    model: models.EncoderDecoder | decoding.Restricted,
    decoder_length: int,
    options: options_lib.PredictionOptions,
) -> decoding.runner.Function:
    """Returns a function for a `decoding.Runner`.

    Args:
        model: the model, usually restricted to its vocabulary.
        decoder_length: T, maximum length of a prediction.
        options: the options; "rank" decodes greedily, as tasks without labels need.

    Returns:
        A function of parameters, inputs and row ids that returns `decoding.Decoded`.
    """
    if options.decoding == "beam":
        return lambda params, inputs, rows: decoding.beam_search(
            model,
            params,
            inputs,
            decoder_length,
            options.beam_size,
            options.length_penalty,
        )
    if options.decoding == "sample":
        key = jax.random.key(options.seed)
        return lambda params, inputs, rows: decoding.sample(
            model,
            params,
            inputs,
            decoder_length,
            key,
            rows,
            options.temperature,
            options.top_k,
            options.top_p,
        )
    return lambda params, inputs, rows: decoding.generate(
        model, params, inputs, decoder_length
    )


def ended(tokens: np.ndarray) -> np.ndarray:
    """Returns the tokens of a prediction before EOS or padding.

    Args:
        tokens: a row of `decoding.Decoded.tokens`, int [T].
    """
    ends = np.flatnonzero((tokens == vocabulary_lib.EOS_ID) | (tokens == 0))
    return tokens[: ends[0]] if ends.size else tokens
