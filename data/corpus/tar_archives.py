"""Reads the members of a tar archive from a stream, up to its actual end."""

from collections.abc import Iterator
import tarfile
from typing import BinaryIO


def members(stream: BinaryIO) -> Iterator[tuple[tarfile.TarInfo, BinaryIO | None]]:
    """Yields the members of an archive, with a stream of the contents of each file.

    By itself, `tarfile` takes a corrupt header for the end of the archive and stops at
    the zeros between concatenated archives. Here a corrupt header is an error, and
    concatenated archives are read to the end.

    Args:
        stream: the uncompressed archive.

    Yields:
        Each member and, for a file, its contents (None for other members). Read the
        contents before advancing the iterator.

    Raises:
        tarfile.TarError: the archive is truncated or corrupt.
    """
    ends_in_zeros = False

    class Member(tarfile.TarInfo):
        """A member whose header must be valid unless it consists of zeros."""

        @classmethod
        def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
            nonlocal ends_in_zeros
            if buf:
                ends_in_zeros = not buf.strip(b"\0")
            try:
                return super().frombuf(buf, encoding, errors)
            except tarfile.HeaderError as error:
                if buf.strip(b"\0"):
                    raise tarfile.ReadError(str(error)) from error
                raise

    try:
        with tarfile.open(
            fileobj=stream, mode="r|", tarinfo=Member, ignore_zeros=True
        ) as archive:
            while (member := archive.next()) is not None:
                yield member, archive.extractfile(member) if member.isfile() else None
                archive.members.clear()  # Else the list grows with the archive.
    except ValueError as error:  # a bad number in an extended header
        raise tarfile.ReadError(str(error)) from error
    if not ends_in_zeros:
        raise tarfile.ReadError("the zeros that end an archive are missing")
