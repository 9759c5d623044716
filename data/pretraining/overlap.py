"""Which n-grams of evaluation sets occur in a corpus.

Words are runs of letters and digits after NFKC and lower-casing, so that punctuation,
blanks and a vocabulary's normalisation do not count. An n-gram of words is a 64-bit
hash; those of the evaluation sets are kept, the corpus flows by. Two n-grams in 10^18
have the same hash.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import re
import unicodedata

import numpy as np

from clinometer.data.errors import DataError
from clinometer.data.store.token_store import TokenStore

# A row is mostly in the corpus if so many of its n-grams are.
MOST = 0.7

_WORD = re.compile(r"\w+")
# Odd, so that multiplying by it modulo 2^64 loses nothing.
_BASE = np.uint64(0x9E3779B97F4A7C15)
_BATCH_TOKENS = 1 << 20  # of a store, decoded at a time


@dataclasses.dataclass(frozen=True)
class Overlap:
    """What of an evaluation set is in the corpus.

    Attributes:
        name: the set's.
        rows: rows of the set.
        rows_short: rows with no n words in a row, of which nothing can be said.
        rows_any: rows with an n-gram of the corpus.
        rows_most: rows with 70 % of their n-grams there.
        ngrams: n-grams of the set, those of several rows as often.
        ngrams_found: n-grams that the corpus has.
    """

    name: str
    rows: int
    rows_short: int
    rows_any: int
    rows_most: int
    ngrams: int
    ngrams_found: int


class Finder:
    """Looks for the n-grams of evaluation sets in a corpus.

    Memory: 17 bytes for each n-gram of the sets, whatever the corpus's size.

    Attributes:
        n: words of an n-gram.
        documents, words: of the corpus, so far.
    """

    def __init__(self, sets: Iterable[tuple[str, Iterable[Sequence[str]]]], n: int):
        """Reads the evaluation sets.

        Args:
            sets: (name, rows) of each; a row is its texts.
            n: words of an n-gram.

        Raises:
            DataError: n is below 1, or no row has n words.
        """
        if n < 1:
            raise DataError(f"n-grams of {n} words; accepted is 1 or more.")
        self.n = n
        self.documents = self.words = 0
        self._sets = [_Set.read(name, rows, n) for name, rows in sets]
        grams = [part.grams for part in self._sets]
        self._known = np.unique(np.concatenate([np.zeros(0, np.uint64), *grams]))
        self._found = np.zeros(len(self._known), bool)
        if not len(self._known):
            raise DataError(
                f"No row of the evaluation sets has {n} words in a row; lower n."
            )

    def add(self, document: str) -> None:
        """Looks through a document of the corpus."""
        words = split_words(document)
        self.documents += 1
        self.words += len(words)
        grams = hash_ngrams(words, self.n)
        places = np.searchsorted(self._known, grams)
        places[places == len(self._known)] = 0
        self._found[places[self._known[places] == grams]] = True

    def results(self) -> list[Overlap]:
        """What was found of each set so far."""
        return [
            part.overlap(self._found[np.searchsorted(self._known, part.grams)])
            for part in self._sets
        ]


@dataclasses.dataclass(frozen=True)
class _Set:
    """An evaluation set as n-grams; `offsets` [rows + 1] is where each row's start."""

    name: str
    grams: np.ndarray
    offsets: np.ndarray

    @classmethod
    def read(cls, name: str, rows: Iterable[Sequence[str]], n: int) -> "_Set":
        parts, lengths = [np.zeros(0, np.uint64)], []
        for texts in rows:
            found = [hash_ngrams(split_words(text), n) for text in texts]
            parts += found
            lengths.append(sum(map(len, found)))
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return cls(name, np.concatenate(parts), offsets)

    def overlap(self, found: np.ndarray) -> Overlap:
        before = np.concatenate([[0], np.cumsum(found)])
        hits = before[self.offsets[1:]] - before[self.offsets[:-1]]
        sizes = np.diff(self.offsets)
        return Overlap(
            name=self.name,
            rows=len(sizes),
            rows_short=int((sizes == 0).sum()),
            rows_any=int((hits > 0).sum()),
            rows_most=int(((hits >= MOST * sizes) & (sizes > 0)).sum()),
            ngrams=len(found),
            ngrams_found=int(found.sum()),
        )


def split_words(text: str) -> list[str]:
    """The words of a text, as they are compared."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def hash_ngrams(words: Sequence[str], n: int) -> np.ndarray:
    """The hash of each n words in a row, uint64 [max(0, words - n + 1)]."""
    count = len(words) - n + 1
    if count < 1:
        return np.zeros(0, np.uint64)
    # Python's own 64-bit hash, which is another in each process: none is kept.
    hashes = np.fromiter(map(hash, words), np.int64, len(words)).view(np.uint64)
    grams = np.zeros(count, np.uint64)
    for place in range(n):
        grams = grams * _BASE + hashes[place : place + count]
    return grams


def store_documents(store: TokenStore, split: str) -> Iterator[str]:
    """The documents of a split, decoded; a blank for what the vocabulary lacks."""
    stream = store.split(split)
    offsets = stream.document_offsets()
    start = 0
    while start < stream.num_documents:
        # As many documents as fit, at least one.
        limit = offsets[start] + _BATCH_TOKENS
        stop = max(start + 1, int(np.searchsorted(offsets, limit, "right")) - 1)
        tokens = stream.read(offsets[start], offsets[stop] - offsets[start])
        cuts = offsets[start + 1 : stop] - offsets[start]
        yield from store.vocabulary.decode_batch(np.split(tokens, cuts))
        start = stop
