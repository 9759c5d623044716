"""How downstream tasks are decoded: the options, and which values they take."""

import dataclasses

from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.models import decoding
from clinometer.train import errors

METHODS = ("greedy", "beam", "sample", "rank")
# What each of the other options may be.
RANGES: dict[str, ranges.Whole | ranges.Real] = {
    "beam_size": ranges.Whole(1),
    # The penalty of the longest output that there can be is a finite float32.
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
    """How predictions are made.

    Attributes:
        decoding: of `METHODS`; "rank" takes the likeliest of a task's labels, and is
            greedy where the answer is free text.
        beam_size: of "beam".
        length_penalty: alpha, of "beam".
        temperature: of "sample".
        top_k: of "sample"; 0 for all.
        top_p: of "sample".
        seed: of "sample".
        batch_size: examples decoded at once.
        max_examples: of a task, spread over its set; None for all.
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

    def check(self, place: str, vocab_size: int) -> None:
        """Checks all options.

        Args:
            place: what stands before their names: "--", or "config.eval.".
            vocab_size: of the texts that are decoded.

        Raises:
            RunError: one is out of range; names it and what is accepted.
        """
        if self.decoding not in METHODS:
            raise errors.ConfigError(
                f"{place}decoding: got {self.decoding!r}; accepted: "
                f"{', '.join(METHODS)}"
            )
        # There are no more tokens to go on with, or to draw from.
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
