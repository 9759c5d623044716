"""The embedded corpus of docstrings, which needs no download, and its cache.

The cache key depends on the versions of Python and of the packages, so that each set of
installed versions has its own corpus.
"""

import hashlib
import inspect
import json
import os
import platform
import shutil
from typing import TextIO

from clinometer.data import cache
from clinometer.data import files
from clinometer.data import paths
from clinometer.data.corpus import docstrings
from clinometer.data.errors import DataError
from clinometer.data.progress import Progress
from clinometer.data.store import token_store
from clinometer.data.store import tokenization

VALIDATION_FRACTION = 0.05
_VOCABULARY_BYTES = 4 << 20  # text that the vocabulary is trained on
_DIGEST = ".sha256"
_FORMAT = 1


def corpus_key() -> str:
    """Returns the cache key of the corpus, 16 hex digits.

    The key is a hash of the versions of Python and of the packages, and of the code
    that extracts the docstrings.

    Raises:
        DataError: a package is missing.
    """
    what = {
        "format": _FORMAT,
        "python": platform.python_version(),
        "versions": docstrings.versions(),
        "code": inspect.getsource(docstrings),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def ensure_corpus(directory: str | None = None, progress: TextIO | None = None) -> str:
    """Extracts the corpus to a file of JSON lines unless it is cached intact.

    Args:
        directory: the cache folder; None => `cache.folder()`.
        progress: where progress is written; None => standard error.

    Returns:
        The path of the file, whose lines are JSON objects with a `text` field.

    Raises:
        DataError: a package is missing, or the cache cannot be written.
    """
    directory = directory or cache.folder()
    path = os.path.join(directory, f"docstrings-{corpus_key()}.jsonl")
    if _is_as_written(path):
        return path
    with (
        files.disk_errors(f"the embedded corpus {path!r}"),
        files.lock(path + ".lock", wait=True),
    ):
        if _is_as_written(path):  # Written by the process that held the lock.
            return path
        sources = docstrings.source_paths()
        with Progress("embedded corpus", len(sources), "documents", progress) as line:
            texts = docstrings.extract(sources, line.update)
            lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
            data = lines.encode()
            digest = hashlib.sha256(data).hexdigest()
            paths.write_bytes(path, data)
            paths.write_bytes(path + _DIGEST, digest.encode())
            size = sum(map(len, texts))
            line.finish(f"{len(texts):,} docstrings, {size:,} characters")
    return path


def _is_as_written(path: str) -> bool:
    """Returns whether the file exists and matches the checksum stored beside it."""
    try:
        with open(path, "rb") as file, open(path + _DIGEST, "rb") as digest:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            return digest.read() == found.encode()
    except FileNotFoundError:
        return False


def ensure_store(
    directory: str | None = None,
    vocab_size: int = 2048,
    progress: TextIO | None = None,
) -> str:
    """Tokenises the embedded corpus into a token store unless it is cached.

    Args:
        directory: the cache folder; None => `cache.folder()`.
        vocab_size: number of ids of the vocabulary, sentinels included.
        progress: where progress is written; None => standard error.

    Returns:
        The store's folder.

    Raises:
        DataError: a package is missing, or the cache cannot be written.
    """
    directory = directory or cache.folder()
    store = os.path.join(directory, f"store-{corpus_key()}-v{vocab_size}")
    if _is_whole(store):
        return store
    text = ensure_corpus(directory, progress)
    with (
        files.disk_errors(f"the embedded token store {store!r}"),
        files.lock(store + ".making", wait=True),
    ):
        if not _is_whole(store):
            shutil.rmtree(store, ignore_errors=True)  # a damaged store in the cache
            tokenization.tokenize_corpus(
                [text],
                store,
                options=tokenization.TokenizationOptions(
                    vocab_size=vocab_size,
                    vocabulary_bytes=_VOCABULARY_BYTES,
                    character_coverage=None,  # as for the published measurements
                    validation_fraction=VALIDATION_FRACTION,
                ),
                name="embedded",
                description={"packages": docstrings.versions()},
                strict=True,
                progress=progress,
            )
    return store


def _is_whole(store: str) -> bool:
    try:
        token_store.TokenStore.open(store)
    except DataError:
        return False
    return True
