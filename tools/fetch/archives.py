"""Unpacks zip and tar archives from the internet.

Nothing is written outside of the given folder: only plain files with relative names are
accepted, and their sizes and number are limited.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import functools
import lzma
import os
import pathlib
import shutil
import stat
import tarfile
import tempfile
from typing import IO
import zipfile
import zlib

from clinometer.data import errors as data_errors
from clinometer.train import errors

_CHUNK = 1 << 20  # Bytes.
# The largest release, the stories of the Daily Mail, has 220,000 files in an archive,
# and text is compressed to about a third.
_MOST_FILES = 1_000_000
_MOST_RATIO = 100
_LEAST_LIMIT = 16 << 20  # Bytes; for small archives, whose ratio means little.
_LEFT_OUT = ("__MACOSX", ".DS_Store")
_BROKEN = (
    EOFError,
    OSError,
    NotImplementedError,  # An unknown compression.
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)

# Name in the archive, size in bytes, and what opens it.
_Member = tuple[str, int, Callable[[], IO[bytes]]]


def unpack(
    archive: pathlib.Path,
    folder: pathlib.Path,
    inside: str = "",
    report: Callable[[int], None] = lambda count: None,
) -> dict[str, int]:
    """Unpacks an archive; files appear in the folder when all are complete.

    Args:
        archive: a zip or tar archive; its content says which.
        folder: the folder, which exists.
        inside: the folder of the archive whose content is taken, if it has it; "" for
            all.
        report: called with the number of unpacked files from time to time.

    Returns:
        Size by path below the folder of all files.

    Raises:
        RunError: the archive is broken, too large, or has a member that is not a plain
            file or folder, or whose name leads out of the folder.
        OSError: a file cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as staging:
        sizes = _extract(archive, pathlib.Path(staging), report)
        taken = [name for name in sizes if inside and name.startswith(f"{inside}/")]
        prefix = f"{inside}/" if taken else ""
        moved = {}
        for name in taken or sizes:
            target = name.removeprefix(prefix)
            moved[target] = sizes[name]
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            os.replace(pathlib.Path(staging, name), folder / target)
    return moved


def _extract(
    archive: pathlib.Path, folder: pathlib.Path, report: Callable[[int], None]
) -> dict[str, int]:
    """Writes the files of an archive into an empty folder; returns their sizes."""
    most = max(_LEAST_LIMIT, _MOST_RATIO * archive.stat().st_size)
    most = min(most, shutil.disk_usage(folder).free)
    sizes: dict[str, int] = {}
    total = 0
    with contextlib.closing(_members(archive)) as members:
        while True:
            with _reading(archive):
                member = next(members, None)
            if member is None:
                return sizes
            name, size, opened = member
            parts = _parts(archive, name)
            if not parts:
                raise _refused(archive, name, "has no name")
            if parts[0] in _LEFT_OUT or parts[-1] in _LEFT_OUT:
                continue
            name = "/".join(parts)
            if name in sizes:
                raise _refused(archive, name, "is there twice")
            sizes[name] = size
            total += size
            if total > most or len(sizes) > _MOST_FILES:
                raise errors.RunError(
                    f"{archive}: unpacked, it has more than {most:,} bytes, which are "
                    f"the limit or the free space, or more than {_MOST_FILES:,} files"
                )
            _write(archive, name, opened, folder / name, size)
            report(len(sizes))


def _members(archive: pathlib.Path) -> Iterator[_Member]:
    """Yields the files of an archive; raises RunError for what is no file or folder."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if info.is_dir():
                    _parts(archive, info.filename)
                elif kind not in (0, stat.S_IFREG):
                    raise _refused(archive, info.filename, "is a link or a device")
                elif info.flag_bits & 1:
                    raise _refused(archive, info.filename, "is encrypted")
                else:
                    opened = functools.partial(packed.open, info)
                    yield info.filename, info.file_size, opened
        return
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            if member.isdir():
                _parts(archive, member.name)
            elif not member.isreg():
                raise _refused(archive, member.name, "is a link or a device")
            else:
                opened = functools.partial(tar.extractfile, member)
                yield member.name, member.size, opened


def _parts(archive: pathlib.Path, name: str) -> list[str]:
    """Returns the parts of a relative path; raises RunError if it leads elsewhere."""
    parts = [part for part in name.rstrip("/").split("/") if part != "."]
    if not {"", ".."}.isdisjoint(parts) or "\\" in name or "\0" in name:
        raise _refused(archive, name, "leads out of the folder")
    return parts


def _write(
    archive: pathlib.Path,
    name: str,
    opened: Callable[[], IO[bytes]],
    path: pathlib.Path,
    size: int,
) -> None:
    """Writes a member; raises RunError unless it has the size that it announces."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack, open(path, "xb") as file:
        with _reading(archive):
            source = stack.enter_context(opened())
        done = 0
        while True:
            with _reading(archive):
                chunk = source.read(_CHUNK)
            if not chunk:
                break
            done += len(chunk)
            if done > size:
                break
            file.write(chunk)
    if done != size:
        raise _refused(archive, name, f"has not the {size:,} bytes that it announces")


@contextlib.contextmanager
def _reading(archive: pathlib.Path) -> Iterator[None]:
    """Converts errors of a damaged archive to RunError."""
    try:
        yield
    except _BROKEN as error:
        raise errors.RunError(f"{archive}: truncated or corrupt: {error}") from error


def _refused(archive: pathlib.Path, name: str, why: str) -> errors.RunError:
    return errors.RunError(
        f"{archive}: refused, as {data_errors.quoted(name)} in it {why}"
    )
