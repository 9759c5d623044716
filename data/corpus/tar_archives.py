"""Members of tar archives, read as a stream to the archive's true end."""

from collections.abc import Iterator
import tarfile
from typing import BinaryIO


def members(stream: BinaryIO) -> Iterator[tuple[tarfile.TarInfo, BinaryIO | None]]:
    """Yields an archive's members and, of files, their contents, to be read at once.

    `tarfile` itself takes a corrupt header for the end of the archive, and stops at
    the zeros between archives that were joined; here the one is an error and the other
    is read on.

    Raises:
      tarfile.TarError: the archive is cut short or corrupt.
    """
    ends_in_zeros = False

    class Member(tarfile.TarInfo):
        """A member whose header is right; only zeros may stand in its place."""

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
                archive.members.clear()  # which would grow with the archive
    except ValueError as error:  # of a number in an extended header
        raise tarfile.ReadError(str(error)) from error
    if not ends_in_zeros:
        raise tarfile.ReadError("the zeros that end an archive are missing")
