"""Local copies of token stores in object stores, from which they are read at random.

A copy is made once per machine, in `stores/KEY` in the cache folder. KEY is a hash of
the manifest and so of the files whose hashes it lists. One process makes the copy under
another name, while others wait, and renames it when all files have been checked.
"""

from collections.abc import Mapping
import dataclasses
import errno
import hashlib
import os
import shutil

from clinometer.data import cache
from clinometer.data import files
from clinometer.data import paths
from clinometer.data.errors import DataError
from clinometer.data.progress import Progress

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclasses.dataclass(frozen=True)
class File:
    """What is known of a file.

    Attributes:
        size: its size in bytes.
        sha256: hash of its content; None for stores of earlier versions.
    """

    size: int
    sha256: str | None


def local_copy(path: str, contents: Mapping[str, File], manifest: bytes) -> str:
    """Returns the folder of the local copy of a store, which is made if it is missing.

    Its place is told on standard error.

    Args:
        path: the store's path, in an object store.
        contents: the store's files, by path, without the manifest.
        manifest: the content of the manifest.

    Raises:
        DataError: a file is missing, cannot be read or differs from the manifest, or
            the copy cannot be written.
    """
    key = hashlib.sha256(manifest).hexdigest()[:32]
    folder = os.path.join(cache.folder(), "stores", key)
    if not _is_whole(folder, contents):
        with (
            files.disk_errors(f"a copy of the token store {path!r} to {folder!r}"),
            files.lock(folder + ".making", wait=True),
        ):
            if not _is_whole(folder, contents):
                _copy(path, folder, contents, manifest)
    cache.say_once(f"clinometer: reading the copy of {path} in {folder}")
    return folder


def _is_whole(folder: str, contents: Mapping[str, File]) -> bool:
    """Returns whether all files of a copy are there, with the right sizes."""
    try:
        return all(
            os.path.getsize(os.path.join(folder, name)) == file.size
            for name, file in contents.items()
        )
    except OSError:
        return False


def _copy(
    path: str, folder: str, contents: Mapping[str, File], manifest: bytes
) -> None:
    partial = folder + ".partial"
    for old in (partial, folder):  # Of a process that was killed, or damaged.
        paths.remove_tree(old)
    os.makedirs(partial)
    total = sum(file.size for file in contents.values())
    free = shutil.disk_usage(partial).free
    if total > free:
        raise DataError(
            f"The token store {path!r} has {total / 1e6:,.0f} MB, but the disk of its "
            f"copy {folder!r} has {free / 1e6:,.0f} MB free; free some space, or set "
            "CLINOMETER_CACHE to a folder on another disk."
        )
    done = 0
    with Progress(f"copying {path}", total, "bytes") as progress:
        for name, file in contents.items():
            place = os.path.join(partial, name)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            _download(path, name, place)
            _check(path, name, place, file)
            done += file.size
            progress.update(done, done)
        progress.finish(f"{total / 1e6:,.1f} MB")
    paths.write_bytes(os.path.join(partial, "manifest.json"), manifest)
    os.rename(partial, folder)


def _download(path: str, name: str, place: str) -> None:
    try:
        paths.download(paths.parse(path) / name, place)
    except FileNotFoundError as error:
        raise DataError(f"Token store {path!r}: file {name} is missing.") from error
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise DataError(
            f"Token store {path!r}: file {name} could not be copied: {error.strerror}"
        ) from error
    with open(place, "rb") as copied:
        os.fsync(copied.fileno())


def _check(path: str, name: str, place: str, file: File) -> None:
    """Raises DataError if a copied file is not the one that the manifest describes."""
    size = os.path.getsize(place)
    if size != file.size:
        raise DataError(
            f"Token store {path!r}: file {name} has {size} bytes instead of the "
            f"{file.size} in the manifest; copy the store there again."
        )
    if file.sha256 is not None:
        with open(place, "rb") as copied:
            sha256 = hashlib.file_digest(copied, "sha256").hexdigest()
        if sha256 != file.sha256:
            raise DataError(
                f"Token store {path!r}: file {name} differs from the one in the "
                "manifest (sha256); copy the store there again."
            )
