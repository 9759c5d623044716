"""The table of downloads, `releases.csv`, and tables of the same form."""

from collections.abc import Mapping
from collections.abc import Sequence
import csv
import dataclasses
import pathlib
import re
import urllib.parse

from clinometer.data import errors as data_errors
from clinometer.train import errors

FILE = pathlib.Path(__file__).with_name("releases.csv")
SHARD = "{shard:05}"  # Stands for the number of a shard in addresses and file names.
ARCHIVES = ("zip", "tar")
_SUM = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Download:
    """A file to download.

    Attributes:
        name: the task, or corpus, that it belongs to.
        url: its address; that of a page if it has to be got by hand.
        bytes: its size; None if unknown.
        sha256: its sum, in hex; None if unknown.
        folder: where it belongs, or what it holds, below the folder of data.
        file: its name there.
        unpack: one of `ARCHIVES`, or "" for a file that is used as it is.
        inside: the folder of the archive whose content is taken; "" for all.
        by_hand: whether no program can download it.
        note: for the user.
    """

    name: str
    url: str
    bytes: int | None
    sha256: str | None
    folder: str
    file: str
    unpack: str
    inside: str
    by_hand: bool
    note: str

    @property
    def path(self) -> str:
        """The file's path below the folder of data."""
        return f"{self.folder}/{self.file}"

    def sharded(self, shards: Sequence[int]) -> "list[Download]":
        """Returns the downloads of some shards; itself if it has none."""
        if SHARD not in self.url:
            return [self]
        return [
            dataclasses.replace(
                self,
                url=self.url.replace(SHARD, f"{shard:05}"),
                file=self.file.replace(SHARD, f"{shard:05}"),
            )
            for shard in shards
        ]


def read(path: pathlib.Path = FILE) -> list[Download]:
    """Reads a table.

    Args:
        path: a CSV file whose columns are the attributes of `Download`.

    Raises:
        ConfigError: it cannot be read, or a row is invalid; names the line.
    """
    names = [field.name for field in dataclasses.fields(Download)]
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if reader.fieldnames != names:
                raise errors.ConfigError(
                    f"{path}:1: the columns are {','.join(reader.fieldnames or ())}; "
                    f"accepted: {','.join(names)}"
                )
            found = [_download(row, f"{path}:{reader.line_num}") for row in reader]
    except OSError as error:
        raise errors.ConfigError(f"{path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise errors.ConfigError(f"{path}: not a CSV file: {error}") from error
    places = [one.path for one in found]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        raise errors.ConfigError(f"{path}: two rows have the file {twice}")
    return found


def _download(row: Mapping[str, str | None], origin: str) -> Download:
    """Returns a row; raises ConfigError if it is invalid."""

    def check(name: str, is_accepted: bool, accepted: str) -> None:
        if not is_accepted:
            shown = data_errors.quoted(row[name])
            raise errors.ConfigError(
                f"{origin}: {name} is {shown}; accepted: {accepted}"
            )

    if None in row or None in row.values():
        raise errors.ConfigError(f"{origin}: another number of columns than the header")
    address = urllib.parse.urlsplit(row["url"])
    is_address = address.scheme in ("http", "https") and bool(address.netloc)
    check("url", is_address, "an http or https address")
    size, digest = row["bytes"], row["sha256"]
    is_size = not size or size.isdecimal() and len(size) < 16
    check("bytes", is_size, "a number of bytes, or nothing")
    is_sum = not digest or _SUM.fullmatch(digest) is not None
    check("sha256", is_sum, "64 digits of hex, or nothing")
    for name in ("name", "folder", "file"):
        parts = row[name].split("/") if name == "folder" else [row[name]]
        is_inside = all(
            part not in ("", ".", "..") and "/" not in part and "\\" not in part
            for part in parts
        )
        check(name, is_inside, "a name, without ..")
    check("unpack", row["unpack"] in ("", *ARCHIVES), "zip, tar or nothing")
    check("by_hand", row["by_hand"] in ("", "yes"), "yes or nothing")
    return Download(
        **{
            **row,
            "bytes": int(size) if size else None,
            "sha256": digest or None,
            "by_hand": bool(row["by_hand"]),
        }
    )
