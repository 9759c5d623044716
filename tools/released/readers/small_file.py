"""Reads small files of a release whole, such as its configuration."""

import pathlib

from clinometer.tools.released import errors


def read(path: pathlib.Path, most_bytes: int) -> bytes:
    """Returns the contents of a file.

    Args:
        path: the file.
        most_bytes: the largest size that is read.

    Raises:
        ReleaseError: it is missing, or larger.
    """
    if not path.is_file():
        raise errors.ReleaseError(
            f"{path}: there is no such file; the model's numbers are read from it"
        )
    if path.stat().st_size > most_bytes:
        raise errors.ReleaseError(f"{path}: larger than {most_bytes:,} bytes")
    return path.read_bytes()
