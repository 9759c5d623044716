"""How downstream tasks are decoded: the options, and which values they take."""

import dataclasses
import math

from clinometer.models import decoding
from clinometer.train import errors

METHODS = ("greedy", "beam", "sample", "rank")
_MOST_SEQUENCES = 1 << 16
# The penalty of the longest output that there can be is a finite float32.
_MOST_PENALTY = 5.0
_MOST_SEED = (1 << 32) - 1


@dataclasses.dataclass(frozen=True)
class Options:
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
        least = decoding.sampling.LEAST_TEMPERATURE
        accepted = {
            "decoding": (self.decoding in METHODS, ", ".join(METHODS)),
            "beam_size": (
                1 <= self.beam_size <= vocab_size,
                f"1 to {vocab_size}, the size of the vocabulary",
            ),
            "length_penalty": (
                0 <= self.length_penalty <= _MOST_PENALTY,
                f"0 to {_MOST_PENALTY:g}",
            ),
            "temperature": (
                least <= self.temperature < math.inf,
                f"{least:g} or more, finite",
            ),
            "top_k": (
                0 <= self.top_k <= vocab_size,
                f"1 to {vocab_size}, the size of the vocabulary, or 0 for all",
            ),
            "top_p": (0 < self.top_p <= 1, "above 0, up to 1"),
            "seed": (0 <= self.seed <= _MOST_SEED, f"0 to {_MOST_SEED}"),
            "batch_size": (
                1 <= self.batch_size <= _MOST_SEQUENCES,
                f"1 to {_MOST_SEQUENCES}",
            ),
            "max_examples": (
                self.max_examples is None or self.max_examples >= 1,
                "1 or more",
            ),
        }
        for name, (holds, words) in accepted.items():
            if not holds:
                shown = name.replace("_", "-") if place == "--" else name
                raise errors.RunError(
                    f"{place}{shown}: got {getattr(self, name)!r}; accepted: {words}"
                )
