"""Samples the text that a vocabulary is trained on, in proportion to file sizes."""

import hashlib
import heapq

from clinometer.data.store import tokenized_units


class Sample:
    """A sample of about `size` bytes: the texts with the smallest hashes.

    Every byte of a corpus is equally likely to be in the sample, whatever its file and
    position, and the same texts give the same sample. Long texts are sampled in parts.

    Args:
        size: bytes of UTF-8 to keep; the last text may exceed it.
    """

    def __init__(self, size: int):
        self._size = size
        self._bytes = self._added = 0
        # The largest hash first; among equal texts, the one that was added last.
        self._kept: list[tuple[int, int, bytes]] = []

    def add(self, text: str) -> None:
        """Adds a text, replacing texts with larger hashes."""
        for part in tokenized_units.cut(text):
            data = part.encode("utf-8")
            order = int.from_bytes(hashlib.sha256(data).digest(), "big")
            self._added += 1
            heapq.heappush(self._kept, (-order, -self._added, data))
            self._bytes += len(data)
            while self._kept and self._bytes - len(self._kept[0][2]) >= self._size:
                self._bytes -= len(heapq.heappop(self._kept)[2])

    def texts(self) -> list[str]:
        """Returns the sampled texts in the order in which they were added."""
        in_order = sorted(self._kept, key=lambda item: -item[1])
        return [data.decode("utf-8") for _, _, data in in_order]
