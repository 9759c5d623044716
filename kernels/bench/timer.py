"""Times functions interleaved, and checks that their results agree."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
import random
import time
from typing import Any

import numpy as np

# Seconds. Shorter samples are mostly noise, so they are made of several calls.
SHORTEST_SAMPLE = 0.005
_MOST_CALLS = 64

# Seconds. Faster functions are called once before each sample; otherwise their time is
# mostly spent refilling the caches that the previous form evicted.
_WARMED = 0.1
_SEED = 0


class DisagreementError(RuntimeError):
    """Raised if implementations give different results, so times mean nothing."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """The times of a function.

    Attributes:
        samples: seconds per call, one sample per round.
    """

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the samples, in seconds."""
        return float(np.median(self.samples))

    @property
    def iqr(self) -> float:
        """The interquartile range of the samples, in seconds."""
        first, third = np.percentile(self.samples, (25, 75))
        return float(third - first)


def interleave(
    functions: Mapping[str, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Timing]:
    """Times all functions in interleaved rounds, so that noise affects them equally.

    Each round has a new random order, so that no function always follows the same
    other. A fast function is called once before each sample, so that caches and
    allocator are in the state that its own calls leave behind. A function too fast for
    the clock is called several times per sample.

    Args:
        functions: functions by name that return when their work is done. Each is called
            once before any sample is taken.
        rounds: the number of samples of each function.
        clock: returns the time in seconds.
        progress: called with the number of rounds done.

    Returns:
        The times by name.
    """
    calls, warmed = {}, set()
    for name, function in functions.items():
        start = clock()
        function()
        elapsed = max(clock() - start, SHORTEST_SAMPLE / _MOST_CALLS)
        calls[name] = max(1, math.ceil(SHORTEST_SAMPLE / elapsed))
        if elapsed < _WARMED:
            warmed.add(name)
    names = list(functions)
    generator = random.Random(_SEED)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for done in range(rounds):
        for name in generator.sample(names, len(names)):
            function = functions[name]
            if name in warmed:
                function()
            start = clock()
            for _ in range(calls[name]):
                function()
            samples[name].append((clock() - start) / calls[name])
        progress(done + 1)
    return {name: Timing(tuple(taken)) for name, taken in samples.items()}


def difference(expected: Sequence[np.ndarray], given: Sequence[np.ndarray]) -> float:
    """Returns the largest error relative to each array's largest expected value.

    The maximum over all arrays; infinity if shapes or integers differ, or a value is
    not finite.

    Args:
        expected: the arrays to compare with.
        given: the arrays to check.
    """
    if len(expected) != len(given):
        return math.inf
    worst = 0.0
    for a, b in zip(expected, given, strict=True):
        if a.shape != b.shape:
            return math.inf
        if np.issubdtype(a.dtype, np.integer):
            if not np.array_equal(a, b):
                return math.inf
            continue
        a, b = a.astype(np.float64), b.astype(np.float64)
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return math.inf
        scale = np.abs(a).max(initial=0.0) or 1.0
        worst = max(worst, float(np.abs(a - b).max(initial=0.0) / scale))
    return worst


def check_agreement(
    what: str,
    expected: Sequence[np.ndarray],
    given: Sequence[np.ndarray],
    tolerance: float,
) -> float:
    """Returns the `difference` of two results, after checking it.

    Args:
        what: the name of the form in the error message.
        expected: the arrays to compare with.
        given: the arrays to check.
        tolerance: the largest accepted difference.

    Raises:
        DisagreementError: if the difference is larger.
    """
    apart = difference(expected, given)
    if not apart <= tolerance:
        raise DisagreementError(
            f"{what}: differs from the reference by {apart:.2g} of its largest value; "
            f"accepted: up to {tolerance:.0e}. It was not timed"
        )
    return apart
