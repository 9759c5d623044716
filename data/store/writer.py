"""Writes token stores from tokenised units."""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import hashlib
import os
import platform

from array_record.python import array_record_module
import numpy as np

from clinometer.data import paths
from clinometer.data.corpus.documents import BrokenRecord
from clinometer.data.errors import DataError
from clinometer.data.store import token_store
from clinometer.data.store.tokenized_units import SPLITS
from clinometer.data.store.tokenized_units import Unit
from clinometer.data.store.vocabulary import Vocabulary

_OPTIONS = "group_size:1,zstd:1"
_BLOCKS_PER_FILE = 1 << 14  # 64 Mi tokens, 128 MiB as uint16 before compression
_KEPT_BROKEN = 10


@dataclasses.dataclass
class _Totals:
    """Sums over units."""

    text_bytes: dict[str, int] = dataclasses.field(
        default_factory=lambda: dict.fromkeys(SPLITS, 0)
    )
    unknown: dict[str, int] = dataclasses.field(
        default_factory=lambda: dict.fromkeys(SPLITS, 0)
    )
    empty: int = 0
    broken: int = 0
    first_broken: list[list[str]] = dataclasses.field(default_factory=list)


def write_store(
    folder: str,
    units: Iterable[Unit],
    vocabulary: Vocabulary,
    *,
    name: str,
    source: dict,
    broken: Sequence[BrokenRecord] = (),
) -> token_store.Manifest:
    """Writes a store into `folder`, the manifest last.

    Args:
        folder: an existing folder for the store.
        units: all tokenised units, in order.
        vocabulary: the vocabulary that they were tokenised with.
        name: name of the corpus.
        source: what the corpus was read from, and with which options.
        broken: files that could not be read, in addition to the units' broken records.

    Returns:
        The store's manifest.

    Raises:
        DataError: the train split has no tokens.
    """
    writers = {
        (split, kind): _FileSeries(folder, split, kind)
        for split in SPLITS
        for kind in ("tokens", "documents")
    }
    totals = _Totals(
        broken=len(broken), first_broken=[[r.origin, r.reason] for r in broken]
    )
    digest = hashlib.sha256()
    for unit in units:
        digest.update(unit.digest.encode())
        for split in SPLITS:
            writers[split, "tokens"].write(unit.tokens[split])
            writers[split, "documents"].write(unit.lengths[split])
            totals.text_bytes[split] += unit.text_bytes[split]
            totals.unknown[split] += unit.num_unknown(split)
        totals.empty += unit.empty
        totals.broken += unit.broken
        totals.first_broken += unit.first_broken
    for writer in writers.values():
        writer.close()
    if not writers["train", "tokens"].count:
        broken = f" ({totals.broken} broken records)" if totals.broken else ""
        raise DataError(
            f"The sources have no text for the train split{broken}; nothing was "
            "written."
        )
    manifest = token_store.Manifest(
        format_version=token_store.FORMAT_VERSION,
        name=name,
        source=source,
        corpus_hash=digest.hexdigest(),
        python_version=platform.python_version(),
        vocabulary=_describe(vocabulary),
        dtype=vocabulary.dtype.name,
        block_tokens=token_store.BLOCK_TOKENS,
        splits={
            split: {
                "documents": writers[split, "documents"].count,
                "tokens": writers[split, "tokens"].count,
                "text_bytes": totals.text_bytes[split],
                "unknown_tokens": totals.unknown[split],
                "files": {
                    file: os.path.getsize(os.path.join(folder, file))
                    for kind in ("documents", "tokens")
                    for file in writers[split, kind].files
                },
                "sha256": {
                    file: sha256
                    for kind in ("documents", "tokens")
                    for file, sha256 in writers[split, kind].hashes.items()
                },
            }
            for split in SPLITS
            if writers[split, "tokens"].count
        },
        empty_documents=totals.empty,
        broken_records={
            "count": totals.broken,
            "first": totals.first_broken[:_KEPT_BROKEN],
        },
    )
    _write_last(folder, vocabulary, manifest)
    return manifest


def write_vocabulary(
    folder: str, vocabulary: Vocabulary, *, name: str, source: dict
) -> token_store.Manifest:
    """Writes a store without tokens, for a model that was trained elsewhere.

    Args:
        folder: an existing folder for the store.
        vocabulary: the vocabulary.
        name: name of the store.
        source: where the vocabulary is from.

    Returns:
        The store's manifest.
    """
    manifest = token_store.Manifest(
        format_version=token_store.FORMAT_VERSION,
        name=name,
        source=source,
        corpus_hash=hashlib.sha256().hexdigest(),
        python_version=platform.python_version(),
        vocabulary=_describe(vocabulary),
        dtype=vocabulary.dtype.name,
        block_tokens=token_store.BLOCK_TOKENS,
        splits={},
        empty_documents=0,
        broken_records={"count": 0, "first": []},
    )
    _write_last(folder, vocabulary, manifest)
    return manifest


def _write_last(
    folder: str, vocabulary: Vocabulary, manifest: token_store.Manifest
) -> None:
    """Writes the vocabulary, then the manifest, which makes the store one."""
    paths.write_bytes(os.path.join(folder, token_store.VOCABULARY), vocabulary.model)
    paths.write_bytes(
        os.path.join(folder, token_store.MANIFEST), manifest.to_json().encode()
    )


def _describe(vocabulary: Vocabulary) -> dict:
    return {
        "sha256": vocabulary.sha256,
        "bytes": len(vocabulary.model),
        "size": vocabulary.size,
        "padded_size": vocabulary.padded_size(),
        "pad_id": vocabulary.pad_id,
        "eos_id": vocabulary.eos_id,
        "unk_id": vocabulary.unk_id,
        "num_sentinels": vocabulary.num_sentinels,
    }


class _FileSeries:
    """Writes a stream of numbers in blocks to one or more ArrayRecord files."""

    def __init__(self, folder: str, split: str, kind: str):
        self._folder, self._split, self._kind = folder, split, kind
        self._block = (
            token_store.BLOCK_TOKENS
            if kind == "tokens"
            else token_store.DOCUMENTS_PER_BLOCK
        )
        self._rest = []  # arrays not yet written, together less than a block
        self._rest_length = 0
        self._writer = None
        self._blocks = 0
        self.files, self.count = [], 0
        self.hashes = {}  # File -> SHA-256.

    def write(self, array: np.ndarray) -> None:
        self.count += len(array)
        self._rest.append(array)
        self._rest_length += len(array)
        if self._rest_length >= self._block:
            whole = np.concatenate(self._rest)
            stop = len(whole) - len(whole) % self._block
            for start in range(0, stop, self._block):
                self._write_block(whole[start : start + self._block])
            self._rest, self._rest_length = [whole[stop:]], len(whole) - stop

    def close(self) -> None:
        if self._rest_length:
            self._write_block(np.concatenate(self._rest))
        self._finish_file()

    def _write_block(self, block: np.ndarray) -> None:
        if self._kind == "tokens" and self._blocks % _BLOCKS_PER_FILE == 0:
            self._finish_file()
        if self._writer is None:
            self._start_file()
        self._writer.write(block.astype(block.dtype.newbyteorder("<")).tobytes())
        self._blocks += 1

    def _start_file(self) -> None:
        name = token_store.DOCUMENTS
        if self._kind == "tokens":
            name = f"tokens-{len(self.files):05d}.array_record"
        self.files.append(f"{self._split}/{name}")
        path = os.path.join(self._folder, self.files[-1])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._writer = array_record_module.ArrayRecordWriter(path + ".tmp", _OPTIONS)

    def _finish_file(self) -> None:
        if self._writer is None:
            return
        path = os.path.join(self._folder, self.files[-1])
        self._writer.close()
        with open(path + ".tmp", "rb") as written:
            os.fsync(written.fileno())
            digest = hashlib.file_digest(written, "sha256")
        self.hashes[self.files[-1]] = digest.hexdigest()
        os.replace(path + ".tmp", path)
        self._writer = None
