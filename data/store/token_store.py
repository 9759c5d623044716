"""Random access to a tokenised corpus on disk.

A store is a folder, on a local disk or in an object store (see `staging`):
  manifest.json                    counts, hashes, source and vocabulary
  vocabulary.model                 the SentencePiece model
  SPLIT/tokens-00000.array_record  the stream of token ids, in blocks
  SPLIT/documents.array_record     the documents' lengths in tokens, in blocks

A split is one stream: the concatenation of its non-empty documents, without separators
(FORMATS.md#span-corruption). Row k of raw length n is `tokens[k*n : (k+1)*n]`, so one
store serves every sequence length. A store for a model that was trained elsewhere has a
vocabulary and no splits. Where T5 keeps one random chunk of 65,536 tokens of
a longer document, a store keeps the whole document.
"""

import dataclasses
import functools
import json
import os

from array_record.python import array_record_data_source
import numpy as np

from clinometer.data import paths
from clinometer.data.errors import DataError
from clinometer.data.store import staging
from clinometer.data.store.vocabulary import Vocabulary

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
VOCABULARY = "vocabulary.model"
DOCUMENTS = "documents.array_record"
# Tokens per block. Reading a random row of 568 tokens out of 16 Mi takes 50 us with
# blocks of 1,024 tokens, 30 us with 4,096 and 180 us with 65,536.
BLOCK_TOKENS = 4096
DOCUMENTS_PER_BLOCK = 4096
_MAX_COUNT = 1 << 62  # limit of any count, so that sums fit int64
# Raised by ArrayRecord (Riegeli) for a damaged file, and by NumPy for a bad length.
_RECORD_ERRORS = (RuntimeError, ValueError, IndexError)
_CACHE_BYTES = 256 << 20  # cache of decoded blocks, for each split


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Description of a store, stored as `manifest.json` with these fields as keys.

    Attributes:
        format_version: version of the store's format.
        name: the corpus's name.
        source: what the documents were read from, and with which options.
        corpus_hash: SHA-256 that covers the documents' text, order and split.
        python_version: the Python that wrote the store.
        vocabulary: sha256, bytes, size, padded_size and special ids of the vocabulary.
        dtype: type of the tokens, uint16 or uint32, little-endian.
        block_tokens: tokens per block.
        splits: split -> its documents, tokens, text_bytes, unknown_tokens, files
            (path -> bytes) and sha256 (path -> hash; missing in older stores).
        empty_documents: number of documents dropped because they have no tokens.
        broken_records: number of broken records (`count`) and the first few (`first`).
    """

    format_version: int
    name: str
    source: dict
    corpus_hash: str
    python_version: str
    vocabulary: dict
    dtype: str
    block_tokens: int
    splits: dict
    empty_documents: int
    broken_records: dict

    def to_json(self) -> str:
        """Returns the contents of `manifest.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"


class Split:
    """The token stream of one split, with a cache of decoded blocks.

    Attributes:
        name: the split's name.
        num_tokens: length of the stream in tokens.
        num_documents: length of the stream in documents.
    """

    def __init__(self, folder: str, manifest: Manifest, split: str):
        entry = manifest.splits[split]
        self.name = split
        self.num_tokens: int = entry["tokens"]
        self.num_documents: int = entry["documents"]
        self._dtype = np.dtype(manifest.dtype).newbyteorder("<")
        self._block_tokens = manifest.block_tokens
        documents = f"{split}/{DOCUMENTS}"
        tokens = sorted(set(entry["files"]) - {documents})
        self._documents = _Records(folder, [documents])
        self._blocks = _Records(folder, tokens)
        expected = -(-self.num_tokens // self._block_tokens)
        if len(self._blocks) != expected:
            raise DataError(
                f"Token store {folder!r}, split {split!r}: found {len(self._blocks)} "
                f"blocks of tokens, but the manifest implies {expected}."
            )
        block_bytes = self._block_tokens * self._dtype.itemsize
        self._block = functools.lru_cache(max(2, _CACHE_BYTES // block_bytes))(
            self._read_block
        )

    def read(self, start: int, length: int) -> np.ndarray:
        """Returns tokens [start, start + length) of the stream as int32 [length].

        Raises:
            DataError: the range is outside the stream, or a block is corrupt.
        """
        if start < 0 or length < 0 or start + length > self.num_tokens:
            raise DataError(
                f"Tokens {start} to {start + length} are not in split {self.name!r}, "
                f"which has {self.num_tokens} tokens."
            )
        size = self._block_tokens
        first, last = start // size, (start + max(length, 1) - 1) // size
        if length and first == last:
            offset = start - first * size
            return self._block(first)[offset : offset + length].astype(np.int32)
        tokens = np.empty(length, np.int32)
        for index in range(first, last + 1) if length else ():
            low, high = (
                max(start, index * size),
                min(start + length, (index + 1) * size),
            )
            block = self._block(index)[low - index * size : high - index * size]
            tokens[low - start : high - start] = block
        return tokens

    def document_offsets(self) -> np.ndarray:
        """Returns the offset of each document in the stream, int64 [documents + 1].

        The last element is the length of the stream.

        Raises:
            DataError: the lengths are corrupt or do not match the manifest.
        """
        records = self._documents
        lengths = [records.numbers(k, np.dtype("<u4")) for k in range(len(records))]
        offsets = np.cumsum(np.concatenate([[0], *lengths]), dtype=np.int64)
        if (len(offsets) - 1, offsets[-1]) != (self.num_documents, self.num_tokens):
            raise DataError(
                f"Token store {records.folder!r}, split {self.name!r}: found "
                f"{len(offsets) - 1} documents with {offsets[-1]} tokens, but the "
                f"manifest has {self.num_documents} with {self.num_tokens}."
            )
        return offsets

    def _read_block(self, index: int) -> np.ndarray:
        block = self._blocks.numbers(index, self._dtype)
        expected = min(self._block_tokens, self.num_tokens - index * self._block_tokens)
        if len(block) != expected:
            raise self._blocks.corrupt(index, f"{len(block)} tokens, not {expected}")
        return block


class _Records:
    """The records of several ArrayRecord files; errors name the bad record."""

    def __init__(self, folder: str, files: list[str]):
        self.folder, self._files = folder, files
        self._source = self._open(files)

    def __len__(self) -> int:
        return len(self._source)

    def numbers(self, index: int, dtype: np.dtype) -> np.ndarray:
        """Returns a record as an array of numbers."""
        try:
            return np.frombuffer(self._source[index], dtype)
        except _RECORD_ERRORS as error:
            raise self.corrupt(index, str(error)) from error

    def corrupt(self, index: int, reason: str) -> DataError:
        """Returns the error for a bad record, with its file and its index there."""
        for file in self._files:
            records = len(self._open([file]))
            if index < records:
                break
            index -= records
        return DataError(
            f"Token store {self.folder!r}: record {index} of {file} is corrupt: "
            f"{reason}. Recreate the store."
        )

    def _open(self, files: list[str]) -> array_record_data_source.ArrayRecordDataSource:
        paths = [os.path.join(self.folder, file) for file in files]
        try:
            return array_record_data_source.ArrayRecordDataSource(paths)
        except _RECORD_ERRORS as error:
            raise DataError(
                f"Token store {self.folder!r}: cannot read {', '.join(files)}: "
                f"{error}. Recreate the store."
            ) from error


class TokenStore:
    """An open token store.

    Attributes:
        path: the store's folder, as given to `open`.
        manifest: the store's description.
        vocabulary: the vocabulary that the store was tokenised with.
    """

    def __init__(
        self, path: str, folder: str, manifest: Manifest, vocabulary: Vocabulary
    ):
        self.path, self.manifest, self.vocabulary = path, manifest, vocabulary
        self._folder = folder

    @classmethod
    def open(cls, path: str, vocabulary: Vocabulary | None = None) -> "TokenStore":
        """Opens a store and checks its files against its manifest.

        A store in an object store is copied to the cache folder, unless it is there.

        Args:
            path: the store's folder.
            vocabulary: the vocabulary that the caller will use; None => the store's.

        Returns:
            The open store.

        Raises:
            DataError: the folder is not a store or has another format version, a file
                is missing or has the wrong size, `vocabulary` is not the one that the
                store was tokenised with, or the store cannot be copied.
        """
        path = str(path)
        manifest = read_manifest(path)
        contents = _contents(manifest)
        folder = path
        if paths.is_remote(path):
            described = manifest.to_json().encode()
            folder = staging.local_copy(path, contents, described)
        for name, file in contents.items():
            _check_file(folder, name, file.size)
        own = Vocabulary.load(os.path.join(folder, VOCABULARY))
        described = (manifest.vocabulary["sha256"], manifest.vocabulary["size"])
        if (own.sha256, own.size) != described:
            raise DataError(
                f"Token store {path!r}: {VOCABULARY} does not match the manifest."
            )
        if vocabulary is not None and vocabulary.sha256 != own.sha256:
            raise DataError(
                f"Token store {path!r} was tokenised with vocabulary "
                f"{own.sha256[:12]} ({own.size} ids), not with the given "
                f"{vocabulary.sha256[:12]} ({vocabulary.size} ids)."
            )
        return cls(path, folder, manifest, own)

    def split(self, name: str) -> Split:
        """Returns the token stream of a split.

        Args:
            name: a split of the manifest, "train" or "validation".

        Raises:
            DataError: the store has no such split, or the split's files cannot be read.
        """
        if name not in self.manifest.splits:
            splits = ", ".join(sorted(self.manifest.splits)) or "only a vocabulary"
            raise DataError(
                f"Token store {self.path!r} has no split {name!r}; it has {splits}."
            )
        return Split(self._folder, self.manifest, name)


def read_manifest(path: str) -> Manifest:
    """Returns the manifest of a store.

    Args:
        path: the store's folder.

    Raises:
        DataError: the manifest is missing, invalid or of another format version.
    """
    bad = f"Token store {path!r}: bad {MANIFEST}"
    try:
        content = paths.read_bytes(paths.parse(path) / MANIFEST)
        values = json.loads(content.decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{path!r} is not a token store (it has no {MANIFEST}); create one with "
            "`clinometer tokenize`."
        ) from error
    except RecursionError as error:
        raise DataError(f"{bad}: nested too deeply") from error
    except ValueError as error:
        raise DataError(f"{bad}: {error}") from error
    except OSError as error:
        raise DataError(f"{bad}: {error.strerror}") from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != FORMAT_VERSION:
        raise DataError(
            f"Token store {path!r} has format version {version}; this program reads "
            f"version {FORMAT_VERSION}. Recreate the store."
        )
    try:
        manifest = Manifest(**values)
    except TypeError as error:
        raise DataError(f"{bad}: {error}") from error
    problem = _problem(manifest)
    if problem:
        raise DataError(f"{bad}: {problem}. Recreate the store.")
    return manifest


def _contents(manifest: Manifest) -> dict[str, staging.File]:
    """Returns the files of a store, except its manifest."""
    vocabulary = manifest.vocabulary
    contents = {VOCABULARY: staging.File(vocabulary["bytes"], vocabulary["sha256"])}
    for entry in manifest.splits.values():
        hashes = entry.get("sha256", {})
        for name, size in entry["files"].items():
            contents[name] = staging.File(size, hashes.get(name))
    return contents


def _problem(manifest: Manifest) -> str | None:
    """Returns what is wrong with the first invalid field, or None if all are valid."""
    for field in dataclasses.fields(Manifest):
        if type(getattr(manifest, field.name)) is not field.type:
            return f"{field.name} is not of type {field.type.__name__}"
    if manifest.dtype not in ("uint16", "uint32"):
        return f"dtype is {manifest.dtype!r}, not uint16 or uint32"
    if manifest.block_tokens < 1:
        return f"block_tokens is {manifest.block_tokens}, not 1 or more"
    for name, kind in (("sha256", str), ("bytes", int), ("size", int)):
        if type(manifest.vocabulary.get(name)) is not kind:
            return f"vocabulary.{name} is not of type {kind.__name__}"
    for split, entry in manifest.splits.items():
        if not isinstance(entry, dict):
            return f"splits.{split} is not an object"
        for name in ("documents", "tokens", "text_bytes", "unknown_tokens"):
            count = entry.get(name)
            if type(count) is not int or not 0 <= count < _MAX_COUNT:
                return f"splits.{split}.{name} is not a count (an integer, 0 or more)"
        files = entry.get("files")
        if not isinstance(files, dict) or not all(
            type(size) is int for size in files.values()
        ):
            return f"splits.{split}.files is not an object of file sizes"
        if len(files) < 2 or f"{split}/{DOCUMENTS}" not in files:
            return f"splits.{split}.files lacks token files or {DOCUMENTS}"
        hashes = entry.get("sha256", {})
        if not isinstance(hashes, dict) or not all(
            type(sha256) is str for sha256 in hashes.values()
        ):
            return f"splits.{split}.sha256 is not an object of hashes"
    return None


def _check_file(path: str, file: str, size: int) -> None:
    try:
        actual = os.path.getsize(os.path.join(path, file))
    except OSError as error:
        raise DataError(f"Token store {path!r}: file {file} is missing.") from error
    if actual != size:
        raise DataError(
            f"Token store {path!r}: file {file} has {actual} bytes instead of the "
            f"{size} in the manifest; it is truncated or corrupt. Recreate the store."
        )
