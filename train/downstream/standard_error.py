"""Standard error of a task's score, from the evaluation set and from several seeds."""

from collections.abc import Sequence
import dataclasses
import math
import statistics


@dataclasses.dataclass(frozen=True)
class StandardError:
    """Standard error of the mean score over seeds, in percentage points.

    Attributes:
        examples: error due to the finite evaluation set; None if unknown.
        seeds: standard error of the mean over seeds; None for a single seed.
    """

    examples: float | None
    seeds: float | None

    @property
    def total(self) -> float | None:
        """The larger of the two errors; None if neither is known."""
        known = [x for x in (self.examples, self.seeds) if x is not None]
        return max(known, default=None)


def of_mean(
    scores: Sequence[float], examples_errors: Sequence[float | None]
) -> StandardError:
    """Returns the standard error of the mean score of a task over seeds.

    All seeds are scored on the same examples, so averaging over seeds does not reduce
    the error due to the finite evaluation set.

    Args:
        scores: scores in percent, one per seed.
        examples_errors: for each score, the error due to the finite evaluation set in
            percentage points; None if unknown.
    """
    known = [error for error in examples_errors if error is not None]
    examples = statistics.fmean(known) if known else None
    seeds = None
    if len(scores) > 1:
        seeds = statistics.stdev(scores) / math.sqrt(len(scores))
    return StandardError(examples, seeds)
