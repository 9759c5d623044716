"""Tokenises a corpus in units, from which an interrupted run resumes.

A unit is a few megabytes of consecutive documents. It depends only on the files, the
options and the vocabulary, so a resumed run gives the same bytes as an uninterrupted
one.
"""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import glob
import hashlib
import io
import itertools
import json
import os

import numpy as np

from clinometer.data import paths
from clinometer.data.corpus import documents as corpus
from clinometer.data.errors import DataError
from clinometer.data.store.vocabulary import UNK_ID
from clinometer.data.store.vocabulary import Vocabulary

SPLITS = ("train", "validation")
UNIT_CHARACTERS = 8 << 20
_CHUNK_CHARACTERS = 1 << 16  # longer documents are encoded in parts, at line ends
_DIGEST_BYTES = hashlib.sha256().digest_size
_KEPT_BROKEN = 10  # broken records per unit whose details are kept


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file to read.

    Attributes:
        path: absolute path.
        bytes: size of the file.
        modified_ns: modification time in nanoseconds.
        split: the split of its documents; None => chosen by the documents' hashes.
    """

    path: str
    bytes: int
    modified_ns: int
    split: str | None


@dataclasses.dataclass(frozen=True)
class Position:
    """Position of the next record to read.

    Attributes:
        file: index of the file.
        record: index of the record in the file.
        bytes: bytes of all files read so far.
    """

    file: int = 0
    record: int = 0
    bytes: int = 0


@dataclasses.dataclass(frozen=True)
class Unit:
    """The tokens of consecutive documents.

    Attributes:
        tokens: split -> token ids of all its documents, uint16 or uint32.
        lengths: split -> number of tokens of each document, uint32.
        text_bytes: split -> bytes of the documents' text in UTF-8.
        digest: SHA-256 of the documents' splits and text, in hex.
        empty: number of documents without tokens, which are dropped.
        broken: number of broken records.
        first_broken: [origin, reason] of the first broken records.
        left_out: [origin, reason, count] of skipped files.
        end: position after the unit.
    """

    tokens: dict[str, np.ndarray]
    lengths: dict[str, np.ndarray]
    text_bytes: dict[str, int]
    digest: str
    empty: int
    broken: int
    first_broken: list[list[str]]
    left_out: list[list]
    end: Position

    def num_tokens(self) -> int:
        """Returns the number of tokens in all splits."""
        return sum(map(len, self.tokens.values()))

    def num_unknown(self, split: str) -> int:
        """Returns the number of unknown tokens in a split."""
        return int(np.count_nonzero(self.tokens[split] == UNK_ID))

    def save(self, path: str) -> None:
        """Writes the unit to a file atomically, with a checksum."""
        values = dataclasses.asdict(self)
        arrays = {}
        for field in ("tokens", "lengths"):
            for split, array in values.pop(field).items():
                arrays[f"{field}/{split}"] = array
        buffer = io.BytesIO()
        np.savez(buffer, meta=np.array(json.dumps(values)), **arrays)
        data = buffer.getvalue()
        paths.write_bytes(path, hashlib.sha256(data).digest() + data)

    @classmethod
    def load(cls, path: str) -> "Unit":
        """Reads a unit that `save` wrote.

        Raises:
            DataError: the file does not match its checksum.
        """
        with open(path, "rb") as file:
            digest, data = file.read(_DIGEST_BYTES), file.read()
        if hashlib.sha256(data).digest() != digest:
            raise DataError(f"{path} is damaged.")
        with np.load(io.BytesIO(data)) as arrays:
            values = json.loads(str(arrays["meta"]))
            values["end"] = Position(**values["end"])
            for field in ("tokens", "lengths"):
                values[field] = {s: arrays[f"{field}/{s}"] for s in SPLITS}
        return cls(**values)


class Units:
    """The finished units in a folder, in order.

    Args:
        folder: the folder in which the units are saved.
    """

    def __init__(self, folder: str):
        self._folder = folder

    def _paths(self) -> list[str]:
        return sorted(glob.glob(os.path.join(glob.escape(self._folder), "*.unit")))

    def add(self, unit: Unit) -> None:
        """Saves the next unit."""
        unit.save(os.path.join(self._folder, f"{len(self._paths()):06d}.unit"))

    def drop(self, first: int = 0) -> None:
        """Removes unit number `first` and all later ones."""
        for path in self._paths()[first:]:
            os.remove(path)

    def drop_damaged(self) -> bool:
        """Removes the first damaged unit and all later ones.

        Returns:
            Whether any unit was removed.
        """
        for number, path in enumerate(self._paths()):
            try:
                Unit.load(path)
            except DataError:
                self.drop(number)
                return True
        return False

    def __iter__(self) -> Iterator[Unit]:
        return map(Unit.load, self._paths())


def split_of(text: str, validation_fraction: float) -> str:
    """Returns the split of a document, which is chosen by the hash of its text.

    Args:
        text: the document; equal texts are always in the same split.
        validation_fraction: expected fraction of the documents in "validation".
    """
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "validation" if share < validation_fraction else "train"


def read(
    sources: list[SourceFile], options: corpus.ReadOptions, start: Position = Position()
) -> Iterator[tuple[SourceFile, corpus.Record, Position]]:
    """Yields all records from `start` on, with their file and the position after them.

    Args:
        sources: all files, in order.
        options: how to split them into documents.
        start: the position to start from.
    """
    before = sum(source.bytes for source in sources[: start.file])
    for number in range(start.file, len(sources)):
        source = sources[number]
        skip = start.record if number == start.file else 0
        opened = []  # holds the open file while it is read
        records = enumerate(corpus.read_file(source.path, options, opened.append))
        for record, item in itertools.islice(records, skip, None):
            read_bytes = sum(raw.tell() for raw in opened if not raw.closed)
            done = before + min(read_bytes, source.bytes)
            yield source, item, Position(number, record + 1, done)
        before += source.bytes


def tokenize(
    sources: list[SourceFile],
    options: corpus.ReadOptions,
    vocabulary: Vocabulary,
    validation_fraction: float,
    *,
    start: Position = Position(),
    num_threads: int = 1,
    on_broken: Callable[[corpus.BrokenRecord], None] = lambda record: None,
) -> Iterator[Unit]:
    """Yields the units from `start` to the end of the corpus.

    Args:
        sources: all files, in order.
        options: how to split them into documents.
        vocabulary: the vocabulary to use.
        validation_fraction: see `split_of`; only for files without a split.
        start: where to start: a unit's `end`, or the default for the whole corpus.
        num_threads: SentencePiece threads.
        on_broken: called with every broken record.

    Raises:
        DataError: a document has 2^32 tokens or more.
    """
    records = read(sources, options, start)
    while True:
        documents, broken, left_out, characters, end = [], [], [], 0, None
        for source, item, position in records:
            end = position
            if isinstance(item, corpus.BrokenRecord):
                broken.append(item)
                on_broken(item)
                continue
            if isinstance(item, corpus.LeftOut):
                left_out.append(item)
                continue
            split = source.split or split_of(item.text, validation_fraction)
            documents.append((split, item.text))
            characters += len(item.text)
            if characters >= UNIT_CHARACTERS:
                break
        if end is None:
            return
        yield _encode(documents, broken, left_out, end, vocabulary, num_threads)


def _encode(
    documents: list[tuple[str, str]],
    broken: list[corpus.BrokenRecord],
    left_out: list[corpus.LeftOut],
    end: Position,
    vocabulary: Vocabulary,
    num_threads: int,
) -> Unit:
    chunks = [cut(text) for _, text in documents]
    encoded = iter(
        vocabulary.encode_batch([c for parts in chunks for c in parts], num_threads)
    )
    tokens = {split: [np.zeros(0, vocabulary.dtype)] for split in SPLITS}
    lengths = {split: [] for split in SPLITS}
    text_bytes = dict.fromkeys(SPLITS, 0)
    digest = hashlib.sha256()
    empty = 0
    for (split, text), parts in zip(documents, chunks, strict=True):
        data = text.encode("utf-8")
        digest.update(f"{split} {len(data)} ".encode())
        digest.update(data)
        arrays = [next(encoded) for _ in parts]
        length = sum(map(len, arrays))
        if not length:
            empty += 1
            continue
        if length >= 1 << 32:
            raise DataError(
                f"A document has {length} tokens; accepted is less than 2^32."
            )
        tokens[split] += arrays
        lengths[split].append(length)
        text_bytes[split] += len(data)
    return Unit(
        tokens={split: np.concatenate(tokens[split]) for split in SPLITS},
        lengths={split: np.array(lengths[split], np.uint32) for split in SPLITS},
        text_bytes=text_bytes,
        digest=digest.hexdigest(),
        empty=empty,
        broken=len(broken),
        first_broken=[[r.origin, r.reason] for r in broken[:_KEPT_BROKEN]],
        left_out=[[item.origin, item.reason, item.count] for item in left_out],
        end=end,
    )


def cut(text: str) -> list[str]:
    """Splits a long text after line ends, which does not change its tokens."""
    chunks, start = [], 0
    while len(text) - start > _CHUNK_CHARACTERS:
        stop = text.find("\n", start + _CHUNK_CHARACTERS) + 1
        if not stop:
            break
        chunks.append(text[start:stop])
        start = stop
    return [*chunks, text[start:]]


def source_files(paths: list[str], split: str | None) -> list[SourceFile]:
    """Returns the files with their sizes and modification times.

    A run resumes only if these are unchanged.

    Args:
        paths: the files.
        split: the split of their documents; None => chosen by hash.
    """
    result = []
    for path in paths:
        status = os.stat(path)
        result.append(
            SourceFile(os.path.abspath(path), status.st_size, status.st_mtime_ns, split)
        )
    return result
