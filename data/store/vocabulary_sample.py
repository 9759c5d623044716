"""The text that a vocabulary is trained on: a share of every file by its bytes."""

import hashlib
import heapq

from clinometer.data.store import tokenized_units


class Sample:
    """Keeps texts whose hashes are smallest, until they make up `size` bytes.

    Every byte of a corpus is as likely to be in it, whatever its file and its place
    there, and the same texts give the same sample. Long texts are taken by parts.

    Args:
      size: bytes of UTF-8 to keep; the last text may exceed it.
    """

    def __init__(self, size: int):
        self._size = size
        self._bytes = self._added = 0
        # Largest hash first; of equal texts the last.
        self._kept: list[tuple[int, int, bytes]] = []

    def add(self, text: str) -> None:
        """Takes a text, in place of others with larger hashes."""
        for part in tokenized_units.cut(text):
            data = part.encode("utf-8")
            order = int.from_bytes(hashlib.sha256(data).digest(), "big")
            self._added += 1
            heapq.heappush(self._kept, (-order, -self._added, data))
            self._bytes += len(data)
            while self._kept and self._bytes - len(self._kept[0][2]) >= self._size:
                self._bytes -= len(heapq.heappop(self._kept)[2])

    def texts(self) -> list[str]:
        """The sample, in the order in which it was added."""
        in_order = sorted(self._kept, key=lambda item: -item[1])
        return [data.decode("utf-8") for _, _, data in in_order]
