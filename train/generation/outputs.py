"""Decodes prompts with the model of a trained run."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import jax
import numpy as np

from clinometer.models import decoding
from clinometer.train import trained
from clinometer.train.downstream import options as options_lib
from clinometer.train.downstream import prediction
from clinometer.train.generation import fill_in
from clinometer.train.generation import prompts as prompts_lib
from clinometer.train.sharding import mesh as mesh_lib


@dataclasses.dataclass(frozen=True)
class Request:
    """What to decode.

    Attributes:
        prompts: the prompts.
        step: step of the checkpoint; None for the newest.
        encoder_length: S, the longest accepted prompt; None for that of the run.
        decoder_length: T, the longest output; None for that of the run.
        num_samples: outputs per prompt.
        options: options of decoding, of which `batch_size` is the largest batch.
        mesh: sizes of axes of the mesh, see `trained.TrainedRun.place`.
    """

    prompts: Sequence[prompts_lib.Prompt]
    step: int | None
    encoder_length: int | None
    decoder_length: int | None
    num_samples: int
    options: options_lib.PredictionOptions
    mesh: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Output:
    """A decoded text.

    Attributes:
        prompt: the prompt.
        sample: number of the output among those of the prompt, from 0.
        output: the decoded text, with sentinels.
        blanks: sentinel of the prompt -> its span in the output.
        filled: the prompt with its blanks filled; None if it has none, or the output
            does not fill all.
        log_likelihood: log-likelihood of the output under the model, in nats, without
            a length penalty.
        tokens: its tokens, with end-of-sequence.
        ended: whether the output ended, and was not cut at the largest length.
    """

    prompt: str
    sample: int
    output: str
    blanks: Mapping[str, str]
    filled: str | None
    log_likelihood: float
    tokens: Sequence[int]
    ended: bool


def generate(run: trained.TrainedRun, request: Request) -> tuple[int, list[Output]]:
    """Decodes prompts; the same request gives the same outputs.

    Args:
        run: the run.
        request: what to decode.

    Returns:
        The step of the checkpoint, and `num_samples` outputs of each prompt, in order.

    Raises:
        RunError: the checkpoint cannot be read.
        ConfigError: a prompt or an option is not accepted.
    """
    vocabulary = run.vocabulary
    request.options.check("--", vocabulary.size)
    step = run.check_step(request.step)
    shape = run.shape(request.encoder_length, request.decoder_length)
    tokens = prompts_lib.tokens(request.prompts, vocabulary, shape.encoder_length)
    rows = [ids for ids in tokens for _ in range(request.num_samples)]
    batch_size = _batch_size(len(rows), request.options.batch_size)
    placed = run.place(batch_size, request.mesh)
    model = decoding.Restricted(run.model, vocabulary.size)
    runner = decoding.Runner(
        model,
        prediction.function(model, shape.decoder_length, request.options),
        batch_size=batch_size,
        max_input_length=shape.encoder_length,
    )
    with mesh_lib.shard_over(placed.mesh):
        decoded, _ = runner(run.parameters(step, placed), rows)
    texts = [prompt.text for prompt in request.prompts]
    return step, [
        _output(
            texts[row // request.num_samples],
            row % request.num_samples,
            vocabulary.decode(prediction.ended(decoded.tokens[row])),
            **_numbers(decoded.tokens[row], decoded.scores[row], request.options),
        )
        for row in range(len(rows))
    ]


def _batch_size(num_rows: int, most: int) -> int:
    """Returns B: no more rows than there are, in equal parts for all devices."""
    if num_rows >= most:
        return most
    count = jax.device_count()
    return -(-num_rows // count) * count


def _numbers(
    tokens: np.ndarray, score: np.ndarray, options: options_lib.PredictionOptions
) -> dict[str, Any]:
    """Returns log-likelihood, tokens and end of an output."""
    ends = np.flatnonzero(tokens == decoding.EOS_ID)
    length = int(ends[0]) + 1 if ends.size else len(tokens)
    log_likelihood = float(score)
    if options.decoding == "beam":
        penalty = decoding.length_penalty(length, options.length_penalty)
        log_likelihood *= float(penalty)
    return {
        "log_likelihood": log_likelihood,
        "tokens": tokens[:length].tolist(),
        "ended": bool(ends.size),
    }


def _output(prompt: str, sample: int, output: str, **numbers: Any) -> Output:
    spans = fill_in.spans(prompt, output)
    return Output(
        prompt,
        sample,
        output,
        {f"<extra_id_{number}>": span for number, span in spans.items()},
        fill_in.filled(prompt, spans),
        **numbers,
    )
