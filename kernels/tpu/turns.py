"""Independent pieces of work in turns.

The compiler keeps much of the order in which a kernel is written. Where one piece waits
for its products, another's vector work fills the time if it stands there.
"""

from collections.abc import Iterable
from collections.abc import Iterator
import itertools


def together(steps: Iterable[Iterator[None]]) -> None:
    """Runs all steps to their end, in turns: each up to its next `yield`."""
    for _ in itertools.zip_longest(*steps):
        pass
