"""Reads and writes NumPy archives (`.npz`) of a run, atomically."""

from collections.abc import Callable
import io
from typing import Any
from typing import TypeVar
import zipfile
import zlib

import numpy as np

from clinometer.data import paths
from clinometer.train import errors

_T = TypeVar("_T")
# What NumPy raises for a file that is cut off, damaged or something else.
_UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError),
    *(zipfile.BadZipFile, zlib.error),
)


def write(path: paths.PathLike, **arrays: Any) -> None:
    """Writes a compressed archive atomically.

    Args:
        path: path of the file.
        **arrays: name -> what NumPy can store.
    """
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    paths.write_bytes(path, content.getvalue())


def read(
    path: paths.PathLike, parse: Callable[[Any], _T], *own: type[Exception]
) -> _T | None:
    """Reads an archive; returns None if there is none, as of runs of earlier versions.

    Args:
        path: path of the file.
        parse: a function of the open archive, name -> array.
        *own: exceptions, besides NumPy's, by which `parse` says that the content is
            invalid.

    Raises:
        RunError: the file cannot be read, or its content is invalid.
    """
    try:
        content = io.BytesIO(paths.read_bytes(path))
        with np.load(content, allow_pickle=False) as file:
            return parse(file)
    except FileNotFoundError:
        return None
    except (*_UNREADABLE, *own) as error:
        raise errors.RunError(f"{path}: cannot be read ({error})") from error
