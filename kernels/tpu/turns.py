"""Interleaves independent pieces of work in a kernel.

The compiler keeps much of the order in which a kernel is written. While one piece waits
for its matrix products, the vector work of another fills the time if it comes next.
"""

from collections.abc import Iterable
from collections.abc import Iterator
import itertools


def together(steps: Iterable[Iterator[None]]) -> None:
    """Runs all generators to their end, in turns: each up to its next `yield`."""
    for _ in itertools.zip_longest(*steps):
        pass
