"""Finds n-grams of evaluation sets that occur in a corpus.

Words are runs of letters, digits and underscores after NFKC normalisation and
lower-casing, so that punctuation, whitespace and the vocabulary's normalisation do not
matter. The n-grams of the evaluation sets are kept in memory as 64-bit hashes, and the
corpus is streamed. Hash collisions are negligible.
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

# A row is "mostly" in the corpus if at least this fraction of its n-grams is.
MOST = 0.7

_WORD = re.compile(r"\w+")
# Odd, so that multiplication by it modulo 2^64 is invertible.
_BASE = np.uint64(0x9E3779B97F4A7C15)
_BATCH_TOKENS = 1 << 20  # tokens of a store decoded at a time


@dataclasses.dataclass(frozen=True)
class Overlap:
    """The overlap of an evaluation set with the corpus.

    Attributes:
        name: name of the set.
        rows: number of rows in the set.
        rows_short: rows that are too short for an n-gram.
        rows_any: rows with at least one n-gram in the corpus.
        rows_most: rows with at least 70 % of their n-grams in the corpus.
        ngrams: n-grams of the set, with duplicates.
        ngrams_found: those of `ngrams` that are in the corpus.
    """

    name: str
    rows: int
    rows_short: int
    rows_any: int
    rows_most: int
    ngrams: int
    ngrams_found: int


class Finder:
    """Searches a corpus for the n-grams of evaluation sets.

    Memory: 17 bytes per n-gram of the sets, for a corpus of any size.

    Attributes:
        n: number of words in an n-gram.
        documents, words: number of documents and words searched so far.
    """

    def __init__(self, sets: Iterable[tuple[str, Iterable[Sequence[str]]]], n: int):
        """Reads the evaluation sets.

        Args:
            sets: (name, rows) of each set; a row is a sequence of texts.
            n: number of words in an n-gram.

        Raises:
            DataError: n is below 1, or no text of any row has n words.
        """
        if n < 1:
            raise DataError(f"The n-gram length is {n}; accepted is 1 or more.")
        self.n = n
        self.documents = self.words = 0
        self._sets = [_Set.read(name, rows, n) for name, rows in sets]
        grams = [part.grams for part in self._sets]
        self._known = np.unique(np.concatenate([np.zeros(0, np.uint64), *grams]))
        self._found = np.zeros(len(self._known), bool)
        if not len(self._known):
            raise DataError(
                f"No row of the evaluation sets has {n} consecutive words; use a "
                "smaller n."
            )

    def add(self, document: str) -> None:
        """Searches a document of the corpus."""
        words = split_words(document)
        self.documents += 1
        self.words += len(words)
        grams = hash_ngrams(words, self.n)
        places = np.searchsorted(self._known, grams)
        places[places == len(self._known)] = 0
        self._found[places[self._known[places] == grams]] = True

    def results(self) -> list[Overlap]:
        """Returns the overlap of each set with the documents searched so far."""
        return [
            part.overlap(self._found[np.searchsorted(self._known, part.grams)])
            for part in self._sets
        ]


@dataclasses.dataclass(frozen=True)
class _Set:
    """The n-grams of an evaluation set.

    Attributes:
        name: name of the set.
        grams: hashes of all n-grams, uint64.
        offsets: start of each row's n-grams, and the end, int64 [rows + 1].
    """

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
    """Returns the normalised words of a text."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def hash_ngrams(words: Sequence[str], n: int) -> np.ndarray:
    """Returns the hash of each n-gram, uint64 [max(0, words - n + 1)]."""
    count = len(words) - n + 1
    if count < 1:
        return np.zeros(0, np.uint64)
    # Python's 64-bit hash, which differs between processes; hashes are not stored.
    hashes = np.fromiter(map(hash, words), np.int64, len(words)).view(np.uint64)
    grams = np.zeros(count, np.uint64)
    for place in range(n):
        grams = grams * _BASE + hashes[place : place + count]
    return grams


def store_documents(store: TokenStore, split: str) -> Iterator[str]:
    """Yields the decoded documents of a split, with unknown tokens as blanks.

    Args:
        store: the token store.
        split: the split of the store.
    """
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
