"""Fetches files: downloads, checks, unpacks and records them."""

from collections.abc import Callable
import dataclasses
import os
import pathlib

from clinometer.tools.fetch import archives
from clinometer.tools.fetch import state as state_lib
from clinometer.tools.fetch import table
from clinometer.tools.fetch import transfer
from clinometer.train import errors

_MEGABYTE = 1e6


class ByHandError(errors.RunError):
    """A file has to be got by hand; the message says from where."""


@dataclasses.dataclass
class Fetcher:
    """Fetches files into a folder of data.

    Attributes:
        folder: the folder.
        fetched: what is recorded about it, by the path of the file.
        say: called with progress messages.
    """

    folder: pathlib.Path
    fetched: dict[str, state_lib.Fetched]
    say: Callable[[str], None] = lambda text: None

    def is_there(self, download: table.Download) -> bool:
        """Returns whether a file was fetched and is complete, by its size."""
        earlier = self.fetched.get(download.path)
        if earlier is not None:
            return state_lib.is_complete(self.folder, download, earlier)
        # A folder that was put there by hand, of which nothing is known.
        return download.by_hand and (self.folder / download.path).is_dir()

    def fetch(self, download: table.Download) -> None:
        """Brings a file into place, unless it is there already.

        A file that is there is compared with its sum; so is an archive that was put
        there by hand, which is then unpacked and kept.

        Args:
            download: the file.

        Raises:
            ByHandError: no program can download it.
            RunError: the download, the check of its sum, or unpacking failed.
            OSError: a file cannot be written.
        """
        path = self.folder / download.path
        earlier = self.fetched.get(download.path)
        if self.is_there(download) and not path.is_file():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():  # Fetched earlier, or put there by hand.
            found = state_lib.check(path, download, earlier)
            if download.unpack and not self.is_there(download):
                self._unpack(path, download, found)
            elif earlier is None:
                self._record(download, found)
            return
        if download.by_hand:
            raise ByHandError(
                f"{download.note}: {download.url} to {path}"
                + (f" (sha256 {download.sha256})" if download.sha256 else "")
            )
        partial = transfer.download(
            download.url,
            path,
            lambda done, total: self.say(_progress(download, done, total)),
            size=download.bytes,
            has_sum=bool(download.sha256 or earlier),
        )
        try:
            found = state_lib.check(partial, download, earlier)
        except errors.RunError as error:
            transfer.discard(path)
            raise errors.RunError(
                f"{error}; it was removed, and the same command downloads it anew"
            ) from error
        if download.unpack:
            self._unpack(partial, download, found)
        else:
            os.replace(partial, path)
            self._record(download, found)
        transfer.discard(path)

    def _unpack(
        self, path: pathlib.Path, download: table.Download, found: state_lib.Fetched
    ) -> None:
        content = archives.unpack(
            path,
            path.parent,
            download.inside,
            lambda count: self.say(f"{download.name}: unpacked {count:,} files"),
        )
        content = {f"{download.folder}/{name}": size for name, size in content.items()}
        self._record(download, dataclasses.replace(found, content=content))

    def _record(self, download: table.Download, found: state_lib.Fetched) -> None:
        self.fetched[download.path] = found
        state_lib.write(self.folder, self.fetched)


def _progress(download: table.Download, done: int, total: int | None) -> str:
    of = "" if total is None else f" of {total / _MEGABYTE:,.1f}"
    return f"{download.name}: {download.file} {done / _MEGABYTE:,.1f}{of} MB"
