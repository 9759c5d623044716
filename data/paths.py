"""Paths on a local disk or in an object store (`gs://`, `s3://`), and access to them.

A local path is a `pathlib.Path`, a path with a scheme an `etils.epath.Path`. Object
stores have no folders, renames, appends or locks: an object is written whole, in one
write that they make atomic, and `create_bytes` is their only mutual exclusion. All
errors of a store are raised as OSError, with the path as `filename`.
"""

from collections.abc import Iterator
import contextlib
import errno
import os
import pathlib
import re
import shutil
import tempfile
import typing

from etils import epath
import fsspec
import fsspec.config
import fsspec.core

from clinometer.data.errors import DataError

PathLike: typing.TypeAlias = str | os.PathLike[str]
AnyPath: typing.TypeAlias = pathlib.Path | epath.Path

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# Names by which fsspec knows the object stores of epath.
_PROTOCOLS = ("gs", "gcs", "s3", "az", "hf")
_CODES = {
    FileNotFoundError: errno.ENOENT,
    FileExistsError: errno.EEXIST,
    PermissionError: errno.EACCES,
    TimeoutError: errno.ETIMEDOUT,
}


def is_remote(path: PathLike) -> bool:
    """Returns whether a path has a scheme, such as `gs://`."""
    return _SCHEME.match(os.fspath(path)) is not None


def parse(path: PathLike) -> AnyPath:
    """Returns a path as an object of the right class.

    Raises:
        DataError: the scheme is unknown.
    """
    text = os.fspath(path)
    if not is_remote(text):
        return pathlib.Path(text)
    try:
        return epath.Path(text)
    except KeyError:
        raise DataError(
            f"{text}: unknown scheme; accepted: gs://, s3:// and other object stores "
            "of etils.epath, or a local path"
        ) from None


def absolute(path: PathLike) -> str:
    """Returns a path that holds in any working directory."""
    return str(parse(path)) if is_remote(path) else os.path.abspath(path)


def resolved(path: PathLike) -> AnyPath:
    """Returns an absolute path, without symbolic links if it is local."""
    parsed = parse(path)
    return parsed if is_remote(parsed) else parsed.resolve()


def exists(path: PathLike) -> bool:
    """Returns whether there is a file or folder; of objects, any below the path."""
    if not is_remote(path):
        return os.path.exists(path)
    with _reported(path):
        files, name = _filesystem(path)
        return files.exists(name)


def is_file(path: PathLike) -> bool:
    """Returns whether there is a file or object."""
    if not is_remote(path):
        return os.path.isfile(path)
    with _reported(path):
        files, name = _filesystem(path)
        return files.isfile(name)


def is_folder(path: PathLike) -> bool:
    """Returns whether there is a folder, or any object below the path."""
    if not is_remote(path):
        return os.path.isdir(path)
    with _reported(path):
        files, name = _filesystem(path)
        return files.isdir(name)


def size(path: PathLike) -> int:
    """Returns the size of a file in bytes; FileNotFoundError if there is none."""
    if not is_remote(path):
        return os.path.getsize(path)
    with _reported(path):
        files, name = _filesystem(path)
        return files.size(name)


def names(folder: PathLike) -> list[str]:
    """Returns the sorted names in a folder; FileNotFoundError if there is none."""
    if not is_remote(folder):
        return sorted(os.listdir(folder))
    with _reported(folder):
        files, name = _filesystem(folder)
        found = files.ls(name, detail=False)
        # Some stores list an empty object that stands for the folder itself.
        parts = {each.rstrip("/") for each in found} - {name.rstrip("/")}
        return sorted(part.rpartition("/")[2] for part in parts)


def files_below(folder: PathLike) -> list[str]:
    """Returns the sorted paths of all files below a folder, relative to it.

    Links to folders are not followed. Empty if there is no folder.
    """
    if not is_remote(folder):
        return sorted(
            os.path.relpath(os.path.join(place, name), folder)
            for place, _, found in os.walk(folder)
            for name in found
        )
    with _reported(folder):
        files, name = _filesystem(folder)
        prefix = name.rstrip("/") + "/"
        found = [each for each in files.find(name) if not each.endswith("/")]
        return sorted(e.removeprefix(prefix) for e in found if e.startswith(prefix))


def find(folder: PathLike, name: str, depth: int | None = None) -> list[AnyPath]:
    """Returns the sorted paths of the files of a name in and below a folder.

    Args:
        folder: the folder to search; links to folders below it are not followed.
        name: the name of the files.
        depth: maximum number of levels below the folder; None for no limit.
    """
    if not is_remote(folder):
        patterns = [f"**/{name}"]
        if depth is not None:
            patterns = ["*/" * levels + name for levels in range(depth + 1)]
        place = pathlib.Path(folder)
        return sorted(path for pattern in patterns for path in place.glob(pattern))
    with _reported(folder):
        files, prefix = _filesystem(folder)
        maxdepth = None if depth is None else depth + 1
        found = files.find(prefix, maxdepth=maxdepth)
        place = parse(folder)
        parts = (each[len(prefix) :].strip("/") for each in found)
        return sorted(place / part for part in parts if part.split("/")[-1] == name)


def read_bytes(path: PathLike) -> bytes:
    """Returns the content of a file; FileNotFoundError if there is none."""
    if not is_remote(path):
        return pathlib.Path(path).read_bytes()
    with _reported(path):
        files, name = _filesystem(path)
        return files.cat_file(name)


def read_end(path: PathLike, most: int) -> bytes:
    """Returns the last bytes of a file, at most `most`."""
    if is_remote(path):
        return read_bytes(path)[-most:]
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - most))
        return file.read()


def write_bytes(path: PathLike, content: bytes) -> None:
    """Writes a file atomically: by renaming a temporary file, or as one object.

    Args:
        path: path of the file; the folder of a local one must exist.
        content: its new content.
    """
    if is_remote(path):
        with _reported(path):
            files, name = _filesystem(path)
            files.pipe_file(name, content)
        return
    temporary = f"{os.fspath(path)}.tmp-{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        # The file is left only by an error, which is the one to be raised.
        with contextlib.suppress(OSError):
            os.remove(temporary)


def write_text(path: PathLike, text: str) -> None:
    """Writes a UTF-8 file atomically; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def create_bytes(path: PathLike, content: bytes) -> None:
    """Writes a file that must not exist; of several processes, one succeeds.

    Args:
        path: path of the file; the folder of a local one must exist.
        content: its content, which no reader sees in part.

    Raises:
        FileExistsError: the file exists.
    """
    if is_remote(path):
        with _reported(path):
            files, name = _filesystem(path)
            files.pipe_file(name, content, mode="create")
        return
    name, folder = f"{os.path.basename(path)}.tmp-", os.path.dirname(path) or "."
    with tempfile.NamedTemporaryFile(prefix=name, dir=folder) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        os.link(file.name, path)


def make_folder(path: PathLike) -> None:
    """Creates a folder and its parents if they are missing; stores need none."""
    if not is_remote(path):
        os.makedirs(path, exist_ok=True)


def remove(path: PathLike) -> None:
    """Removes a file; if there is none, FileNotFoundError, except in some stores."""
    if not is_remote(path):
        os.remove(path)
        return
    with _reported(path):
        files, name = _filesystem(path)
        files.rm_file(name)


def remove_tree(folder: PathLike) -> None:
    """Removes a folder with all its files, or all objects below a path, if any."""
    if not is_remote(folder):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
        return
    with _reported(folder):
        files, name = _filesystem(folder)
        with contextlib.suppress(FileNotFoundError):
            files.rm(name, recursive=True)


def move(path: PathLike, target: PathLike) -> None:
    """Moves a file or a folder, replacing a file.

    A rename on a local disk. Objects are copied one by one and then removed, so that
    an interrupted move leaves both.

    Args:
        path: path of the file or folder.
        target: its new path, in the same file system.
    """
    if not is_remote(path):
        os.replace(path, target)
        return
    with _reported(path):
        files, name = _filesystem(path)
        _, new = _filesystem(target)
        for each in files.find(name):
            files.cp_file(each, new + each.removeprefix(name))
        files.rm(name, recursive=True)


def download(path: PathLike, local: PathLike) -> None:
    """Copies a file or object to a local file, whose folder must exist."""
    if not is_remote(path):
        shutil.copyfile(path, local)
        return
    with _reported(path):
        files, name = _filesystem(path)
        files.get_file(name, os.fspath(local))


def upload(local: PathLike, path: PathLike) -> None:
    """Copies a local file to an object, in one atomic write."""
    with _reported(path):
        files, name = _filesystem(path)
        files.put_file(os.fspath(local), name)


def _filesystem(path: PathLike) -> tuple[fsspec.AbstractFileSystem, str]:
    """Returns the file system of a remote path and its name there."""
    # Other processes write too, so that listings must not be cached.
    for protocol in _PROTOCOLS:
        options = fsspec.config.conf.setdefault(protocol, {})
        options.setdefault("use_listings_cache", False)
    return fsspec.core.url_to_fs(str(parse(path)))


@contextlib.contextmanager
def _reported(path: PathLike) -> Iterator[None]:
    """Raises all errors of a store as OSError with the path as `filename`."""
    place = os.fspath(path)
    try:
        yield
    except DataError:
        raise
    except OSError as error:  # Stores omit the number or the name.
        codes = (code for kind, code in _CODES.items() if isinstance(error, kind))
        code = error.errno or next(codes, errno.EIO)
        reason = error.strerror or str(error) or os.strerror(code)
        raise OSError(code, reason, place) from error
    except ImportError as error:  # Such as "Please install gcsfs to access ...".
        raise OSError(errno.EPROTONOSUPPORT, str(error), place) from error
    except Exception as error:  # Each store's library has exceptions of its own.
        reason = f"{type(error).__name__}: {error}"
        raise OSError(errno.EIO, reason, place) from error
