"""Times functions against each other, after checking that they agree."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
import random
import time
from typing import Any

import numpy as np

# A shorter sample than this, in seconds, is mostly noise: it is made of many calls.
SHORTEST_SAMPLE = 0.005
_MOST_CALLS = 64

# What takes less than this, in seconds, is called once more before each sample: else
# its time is mostly that of getting back the caches that the last form took.
_WARMED = 0.1
_SEED = 0


class DisagreementError(RuntimeError):
    """Two implementations gave different results; their times mean nothing."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """The seconds a call took, one sample a round."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the samples, in seconds."""
        return float(np.median(self.samples))

    @property
    def iqr(self) -> float:
        """The distance from the first to the third quartile, in seconds."""
        first, third = np.percentile(self.samples, (25, 75))
        return float(third - first)


def interleave(
    functions: Mapping[str, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Timing]:
    """Times all functions in turn, round by round, so that noise hits all alike.

    Each round has an order of its own, so that none always follows the same other, and
    a short function is called once before each sample: caches and allocator are then in
    the state that its own calls leave. One that is short for the clock is called
    several times a sample.

    Args:
        functions: by name; each returns when its work is done. They are called once
            before any sample is taken.
        rounds: samples of each function.
        clock: returns seconds.
        progress: told how many rounds are done.
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
    """Returns how far results lie apart, as a part of the largest expected value.

    The largest over the arrays. Infinite where shapes differ, integers differ, or a
    value is not finite.
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
    """Returns the `difference`; raises DisagreementError where it is too large."""
    apart = difference(expected, given)
    if not apart <= tolerance:
        raise DisagreementError(
            f"{what}: differs from the reference by {apart:.2g} of its largest value; "
            f"accepted is {tolerance:.0e}. Nothing was timed for it"
        )
    return apart
