"""The standard error of a task's score, over seeds and over examples."""

from collections.abc import Sequence
import dataclasses
import math
import statistics


@dataclasses.dataclass(frozen=True)
class StandardError:
    """How well the mean of one or more seeds' scores is known, in percentage points.

    Attributes:
        examples: of the evaluation set's sampling; None where nobody knows it.
        seeds: of the mean over seeds; None for one, which says nothing of others.
    """

    examples: float | None
    seeds: float | None

    @property
    def total(self) -> float | None:
        """The larger of the two; None where neither is known."""
        known = [x for x in (self.examples, self.seeds) if x is not None]
        return max(known, default=None)


def of_mean(
    scores: Sequence[float], examples_errors: Sequence[float | None]
) -> StandardError:
    """Returns the standard error of the mean of scores of one task.

    The seeds are scored on the same examples: their mean knows these no better. Where
    the seeds scatter more than that, their scatter counts.

    Args:
        scores: one a seed, in percent.
        examples_errors: of each, by the evaluation set's sampling; None if not known.
    """
    known = [error for error in examples_errors if error is not None]
    examples = statistics.fmean(known) if known else None
    seeds = None
    if len(scores) > 1:
        seeds = statistics.stdev(scores) / math.sqrt(len(scores))
    return StandardError(examples, seeds)
