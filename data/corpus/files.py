"""Finds the files of a corpus and reports those that are skipped.

A source is a folder (searched recursively, following links), a glob or a file. A file
that is reachable by several paths is read once.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import glob
import itertools
import os
import stat

from clinometer.data.corpus import documents as corpus
from clinometer.data.corpus.documents import BrokenRecord
from clinometer.data.corpus.documents import LeftOut
from clinometer.data.errors import DataError
from clinometer.data.store import folder as store_folder

_AGAIN = "another path to the same file or folder"
_SPECIAL = "a FIFO, socket or device"
_STORE = "a token store"
_DANGLING = "a dangling link"
_SHOWN = 3


@dataclasses.dataclass
class Found:
    """The contents of the data sources.

    Attributes:
        files: paths of the files to read, sorted, without duplicates.
        left_out: files and folders that are skipped, with the reason.
        broken: dangling links, and folders that cannot be listed.
    """

    files: list[str] = dataclasses.field(default_factory=list)
    left_out: list[LeftOut] = dataclasses.field(default_factory=list)
    broken: list[BrokenRecord] = dataclasses.field(default_factory=list)


def find(sources: Sequence[str]) -> Found:
    """Expands folders and globs into files.

    Args:
        sources: folders, globs and files.

    Raises:
        DataError: a source does not exist, has no file of a supported type, or is a
            file of another type.
    """
    if not sources:
        raise DataError(f"No data source given; accepted are {corpus.ACCEPTED}.")
    walk = _Walk()
    for source in map(str, sources):
        walk.files_of_source, before = 0, len(walk.found.left_out)
        for path in _paths(source):
            walk.add(path)
        if not walk.files_of_source:
            left_out = summary(walk.found.left_out[before:])
            found = "; ".join([*left_out, *reasons(walk.found.broken)])
            raise DataError(
                f"Data source {source!r} has no file of a supported type; supported "
                f"are {corpus.ACCEPTED}." + (f" Skipped: {found}." if found else "")
            )
    walk.found.files.sort()
    walk.found.left_out.sort(key=lambda item: item.origin)
    walk.found.broken.sort(key=lambda item: item.origin)
    return walk.found


def _paths(source: str) -> list[str]:
    """Returns the source itself if it is a file or folder, else a glob's matches."""
    if os.path.isfile(source) and not corpus.kind(source):
        raise DataError(
            f"Data file {source!r} is of an unsupported type; supported are "
            f"{corpus.ACCEPTED}."
        )
    if os.path.isfile(source) or os.path.isdir(source):
        return [source]
    if glob.has_magic(source) and not os.path.lexists(source):
        return sorted(glob.glob(source, recursive=True))
    wrong = "does not exist"
    if os.path.lexists(source):
        wrong = f"is {_SPECIAL if os.path.exists(source) else _DANGLING}"
    raise DataError(
        f"Data source {source!r} {wrong}; give a folder, a glob or a file of one of "
        f"these types: {corpus.ACCEPTED}."
    )


def summary(left_out: Iterable[LeftOut]) -> list[str]:
    """Returns a line for each reason: the number of skipped files and the first few."""
    by_reason: dict[str, list[LeftOut]] = {}
    for item in left_out:
        by_reason.setdefault(item.reason, []).append(item)
    return [
        f"{reason}: {sum(item.count for item in items):,} "
        f"({', '.join(item.origin for item in items[:_SHOWN])}"
        f"{', ...' if len(items) > _SHOWN else ''})"
        for reason, items in sorted(by_reason.items())
    ]


def reasons(broken: Iterable[BrokenRecord]) -> list[str]:
    """Returns "path: reason" for the first few of the paths that cannot be read."""
    shown = itertools.islice(broken, _SHOWN)
    return [f"{item.origin}: {item.reason}" for item in shown]


class _Walk:
    """Walks the sources and keeps track of the files seen so far."""

    def __init__(self):
        self.found = Found()
        self.files_of_source = 0
        self._files: dict[tuple[int, int], str] = {}  # path, by device and inode
        self._named: set[str] = set()  # skipped and broken paths in `found`

    def add(self, path: str) -> None:
        """Adds a file, or all files in a folder except hidden ones."""
        folders: dict[tuple[int, int], str] = {}
        left = [path]
        while left:
            path = left.pop()
            try:
                status = os.stat(path)
                is_folder = stat.S_ISDIR(status.st_mode)
                names = sorted(os.listdir(path), reverse=True) if is_folder else []
            except OSError as error:
                self._name(self.found.broken, BrokenRecord(path, _why(path, error)))
                continue
            if is_folder and store_folder.is_store(path):
                self._name(self.found.left_out, LeftOut(path, _STORE))
            elif is_folder:
                if self._is_new(path, status, folders):
                    left += self._visible(path, names)
            elif not stat.S_ISREG(status.st_mode):
                self._name(self.found.left_out, LeftOut(path, _SPECIAL))
            elif not corpus.kind(path):
                self._name(self.found.left_out, LeftOut(path, corpus.OTHER_KIND))
            else:
                self.files_of_source += 1
                if self._is_new(path, status, self._files):
                    self.found.files.append(path)

    def _visible(self, folder: str, names: Sequence[str]) -> list[str]:
        """Returns the paths of a folder's entries, without the hidden ones."""
        paths = []
        for name in names:
            path = os.path.join(folder, name)
            if corpus.is_hidden(name):
                self._name(self.found.left_out, LeftOut(path, corpus.HIDDEN))
            else:
                paths.append(path)
        return paths

    def _is_new(
        self, path: str, status: os.stat_result, seen: dict[tuple[int, int], str]
    ) -> bool:
        """Returns whether a path is new; records one that was seen by another path."""
        first = seen.setdefault((status.st_dev, status.st_ino), path)
        if first is path:
            return True
        if os.path.abspath(first) != os.path.abspath(path):
            self._name(self.found.left_out, LeftOut(path, _AGAIN))
        return False

    def _name(self, items: list, item: LeftOut | BrokenRecord) -> None:
        """Records a skipped or broken path, once."""
        path = os.path.abspath(item.origin)
        if path not in self._named:
            self._named.add(path)
            items.append(item)


def _why(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and os.path.islink(path):
        return _DANGLING
    return f"cannot be read: {error.strerror}"
