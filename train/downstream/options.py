"""Options for decoding the downstream tasks, and their accepted values."""

import dataclasses

from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.models import decoding
from clinometer.train import errors

METHODS = ("greedy", "beam", "sample", "rank")
# Accepted values of the other options.
RANGES: dict[str, ranges.Whole | ranges.Real] = {
    "beam_size": ranges.Whole(1),
    # With at most 5, the penalty of the longest possible output is finite in float32.
    "length_penalty": ranges.Real(0, 5),
    "temperature": ranges.Real(decoding.sampling.LEAST_TEMPERATURE),
    "top_k": ranges.Whole(),
    "top_p": ranges.Real(0, 1, without_least=True),
    "seed": ranges.SEED,
    "batch_size": ranges.Whole(1, 1 << 16),
    "max_examples": ranges.Whole(1),
}


@dataclasses.dataclass(frozen=True)
class PredictionOptions:
    """Options for making predictions.

    Attributes:
        decoding: one of `METHODS`; "rank" chooses the most likely of a task's labels,
            and decodes greedily if the task has none.
        beam_size: number of beams for "beam".
        length_penalty: exponent alpha of the length penalty for "beam".
        temperature: softmax temperature for "sample".
        top_k: number of most likely tokens to sample from for "sample"; 0 for all.
        top_p: smallest total probability of the tokens to sample from for "sample".
        seed: random seed for "sample".
        batch_size: number of examples decoded at once.
        max_examples: number of examples to score per task, spaced evenly; None for all.
        likelihood: whether to score the likelihood of the right answer, too, in tasks
            whose possible answers are known; see `likelihood.score`.
    """

    decoding: str = "greedy"
    beam_size: int = 4
    length_penalty: float = 0.6
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    batch_size: int = 32
    max_examples: int | None = None
    likelihood: bool = False

    def check(self, place: str, vocab_size: int) -> None:
        """Checks all options.

        Args:
            place: prefix of the options in messages, "--" or "config.eval.".
            vocab_size: number of ids in the vocabulary.

        Raises:
            ConfigError: an option is out of range; the message names it and says what
                is accepted.
        """
        if self.decoding not in METHODS:
            raise errors.ConfigError(
                f"{place}decoding: got {self.decoding!r}; accepted: "
                f"{', '.join(METHODS)}"
            )
        # Neither can exceed the number of tokens in the vocabulary.
        of_vocabulary = {
            name: dataclasses.replace(RANGES[name], most=vocab_size)
            for name in ("beam_size", "top_k")
        }
        for name, accepted in (RANGES | of_vocabulary).items():
            value = getattr(self, name)
            try:
                if value is not None or name != "max_examples":
                    accepted.check(value)
            except OptionError as error:
                shown = name.replace("_", "-") if place == "--" else name
                raise errors.ConfigError(f"{place}{shown}: {error}") from None
