"""Pieces of a corpus, tokenised one by one: what a killed run continues from.

A unit is some megabytes of consecutive documents. It depends only on the files, the
options and the vocabulary, so that a run in two parts gives the bytes of a run in one.
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

from clinometer.data import files
from clinometer.data.corpus import documents as corpus
from clinometer.data.errors import DataError
from clinometer.data.store.vocabulary import UNK_ID
from clinometer.data.store.vocabulary import Vocabulary

SPLITS = ("train", "validation")
UNIT_CHARACTERS = 8 << 20
_CHUNK_CHARACTERS = 1 << 16  # longer documents are encoded in parts, at line ends
_DIGEST_BYTES = hashlib.sha256().digest_size
_KEPT_BROKEN = 10  # broken records that are kept in full


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file to read, and the split that it feeds; None => by document hash."""

    path: str
    bytes: int
    modified_ns: int
    split: str | None


@dataclasses.dataclass(frozen=True)
class Position:
    """Where the next record is: `record` of file `file`; `bytes` read until there."""

    file: int = 0
    record: int = 0
    bytes: int = 0


@dataclasses.dataclass(frozen=True)
class Unit:
    """Tokens of consecutive documents, split by split."""

    tokens: dict[str, np.ndarray]  # split: ids of all its documents
    lengths: dict[str, np.ndarray]  # split: tokens of each document, uint32
    text_bytes: dict[str, int]
    digest: str  # of the documents' splits and text
    empty: int
    broken: int
    first_broken: list[list[str]]  # [origin, reason]
    left_out: list[list]  # [origin, reason, count]
    end: Position

    def num_tokens(self) -> int:
        """Tokens of all splits."""
        return sum(map(len, self.tokens.values()))

    def num_unknown(self, split: str) -> int:
        """Tokens that the vocabulary has no piece for."""
        return int(np.count_nonzero(self.tokens[split] == UNK_ID))

    def save(self, path: str) -> None:
        """Writes the unit, whole or not at all."""
        values = dataclasses.asdict(self)
        arrays = {}
        for field in ("tokens", "lengths"):
            for split, array in values.pop(field).items():
                arrays[f"{field}/{split}"] = array
        buffer = io.BytesIO()
        np.savez(buffer, meta=np.array(json.dumps(values)), **arrays)
        data = buffer.getvalue()
        files.write_whole(path, hashlib.sha256(data).digest() + data)

    @classmethod
    def load(cls, path: str) -> "Unit":
        """Reads a unit that `save` wrote; raises DataError if it was damaged since."""
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
    """The finished units in a folder, in order."""

    def __init__(self, folder: str):
        self._folder = folder

    def _paths(self) -> list[str]:
        return sorted(glob.glob(os.path.join(glob.escape(self._folder), "*.unit")))

    def add(self, unit: Unit) -> None:
        """Saves the next unit."""
        unit.save(os.path.join(self._folder, f"{len(self._paths()):06d}.unit"))

    def drop(self, first: int = 0) -> None:
        """Removes the units from the first on."""
        for path in self._paths()[first:]:
            os.remove(path)

    def drop_damaged(self) -> bool:
        """Removes a unit that is not as it was written, and those after it."""
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
    """The split of a document, by the hash of its text: equal texts stay together."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "validation" if share < validation_fraction else "train"


def read(
    sources: list[SourceFile], options: corpus.ReadOptions, start: Position = Position()
) -> Iterator[tuple[SourceFile, corpus.Record, Position]]:
    """All records from `start` on, each with its file and the position after it."""
    before = sum(source.bytes for source in sources[: start.file])
    for number in range(start.file, len(sources)):
        source = sources[number]
        skip = start.record if number == start.file else 0
        opened = []  # the file, while it is read
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
    """Yields units from `start` to the end; `on_broken` sees every broken record."""
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
            raise DataError(f"A document of {length} tokens is too long: 2^32 or more.")
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
    """A long text, cut after line ends; a line end is a blank to the vocabulary."""
    chunks, start = [], 0
    while len(text) - start > _CHUNK_CHARACTERS:
        stop = text.find("\n", start + _CHUNK_CHARACTERS) + 1
        if not stop:
            break
        chunks.append(text[start:stop])
        start = stop
    return [*chunks, text[start:]]


def source_files(paths: list[str], split: str | None) -> list[SourceFile]:
    """Files with what tells whether they changed since a run was cut off."""
    result = []
    for path in paths:
        status = os.stat(path)
        result.append(
            SourceFile(os.path.abspath(path), status.st_size, status.st_mtime_ns, split)
        )
    return result
