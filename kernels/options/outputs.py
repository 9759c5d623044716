"""Output paths, checked before any work starts, and atomic writes."""

import contextlib
import os

from clinometer.kernels.options.errors import OptionError

# A file is written beside its place under a longer name, then renamed.
_ROOM_IN_NAME = 20
_ROOM_IN_PATH = 200  # For files inside a folder.


def given(text: str) -> str:
    """Parses a path option; raises OptionError for ""."""
    if not text:
        raise OptionError("got '', accepted: a path")
    return text


def given_local(text: str) -> str:
    """Parses an option for a path on a disk; raises OptionError for "" and URLs."""
    if "://" in given(text):
        raise OptionError(f"got {text!r}, accepted: a path on a disk of this machine")
    return text


def check_folder(option: str, path: str | os.PathLike[str]) -> None:
    """Raises OptionError if a folder cannot be created or written; names the option.

    Args:
        option: the name of the option in error messages.
        path: the path of the folder.
    """
    _check_local(option, path)
    path = os.path.abspath(path)
    _check_name(option, path)
    existing = path
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise OptionError(f"{option}: {existing} is a file, not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OptionError(f"{option}: no permission to write in {existing}")


def check_file(option: str, path: str | os.PathLike[str]) -> None:
    """Raises OptionError if a file cannot be written; names the option.

    Args:
        option: the name of the option in error messages.
        path: the path of the file.
    """
    _check_local(option, path)
    folder = os.path.dirname(path) or "."
    path = os.path.abspath(path)
    _check_name(option, path)
    if not os.path.isdir(folder):
        raise OptionError(f"{option}: {path}: there is no folder {folder}")
    # Files are written by renaming, which would replace a device.
    if os.path.lexists(path) and not os.path.isfile(path):
        raise OptionError(f"{option}: {path} is not a file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OptionError(f"{option}: no permission to write in {folder}")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a UTF-8 file atomically, by renaming a temporary file.

    Args:
        path: the path of the file.
        text: its new content.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file atomically, by renaming a temporary file.

    Args:
        path: the path of the file.
        content: its new content.
    """
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


def _check_local(option: str, path: str | os.PathLike[str]) -> None:
    try:
        given_local(os.fspath(path))
    except OptionError as error:
        raise OptionError(f"{option}: {error}") from None


def _check_name(option: str, path: str) -> None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:  # Not every library can write such paths.
        raise OptionError(
            f"{option}: {path!a} is not UTF-8 in this locale; use another name, "
            "or set PYTHONUTF8=1"
        ) from None
    longest = max(path.split(os.sep), key=lambda part: len(os.fsencode(part)))
    most_name = os.pathconf("/", "PC_NAME_MAX") - _ROOM_IN_NAME
    most_path = os.pathconf("/", "PC_PATH_MAX") - _ROOM_IN_PATH
    if len(os.fsencode(longest)) > most_name:
        raise OptionError(
            f"{option}: {longest[:30]}... has {len(os.fsencode(longest))} bytes; a "
            f"name may have {most_name}"
        )
    if len(os.fsencode(path)) > most_path:
        raise OptionError(
            f"{option}: {path[:60]}... has {len(os.fsencode(path))} bytes; a path may "
            f"have {most_path}"
        )
