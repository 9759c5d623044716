"""What was fetched into a folder, `fetched.json`: sums, and what archives held.

A sum that the table does not have is recorded at the first download and checked from
then on.
"""

from collections.abc import Mapping
import dataclasses
import hashlib
import json
import pathlib
from typing import Any

from clinometer.kernels.options import outputs
from clinometer.tools.fetch import table
from clinometer.train import errors

NAME = "fetched.json"
_CHUNK = 1 << 20  # Bytes.


@dataclasses.dataclass(frozen=True)
class Fetched:
    """A file that was downloaded and, if it is an archive, unpacked.

    Attributes:
        bytes: its size.
        sha256: its sum, in hex.
        content: size by path below the folder of data, of what an archive held.
    """

    bytes: int
    sha256: str
    content: Mapping[str, int] = dataclasses.field(default_factory=dict)


def read(folder: pathlib.Path) -> dict[str, Fetched]:
    """Returns what was fetched, by the path of the file.

    Args:
        folder: the folder of data.

    Raises:
        RunError: the file cannot be read or is invalid.
    """
    path = folder / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise errors.RunError(f"{path}: {error}") from error
    try:
        found = json.loads(text)
        return {name: _parsed(value) for name, value in found.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise errors.RunError(
            f"{path}: not a record of downloads ({error}); remove it to check and "
            "record the sums anew"
        ) from error


def _parsed(value: Any) -> Fetched:
    fetched = Fetched(**value)
    if not (
        isinstance(fetched.bytes, int)
        and isinstance(fetched.sha256, str)
        and all(isinstance(size, int) for size in fetched.content.values())
    ):
        raise TypeError("a field has another type")
    return fetched


def write(folder: pathlib.Path, fetched: Mapping[str, Fetched]) -> None:
    """Writes what was fetched, atomically.

    Args:
        folder: the folder of data.
        fetched: what was fetched, by the path of the file.
    """
    contents = {name: dataclasses.asdict(fetched[name]) for name in sorted(fetched)}
    outputs.write_text(folder / NAME, json.dumps(contents, indent=1) + "\n")


def sha256(path: pathlib.Path) -> str:
    """Returns the sum of a file, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def check(
    path: pathlib.Path, download: table.Download, earlier: Fetched | None
) -> Fetched:
    """Checks the size and the sum of a downloaded file.

    Args:
        path: where it is.
        download: what the table says about it.
        earlier: what was recorded when it was fetched before, if it was.

    Returns:
        Its size and sum.

    Raises:
        RunError: they differ from those of the table or from the earlier ones.
    """
    size, digest = path.stat().st_size, sha256(path)
    for value, wanted, unit, source in (
        (size, download.bytes, "bytes", "the table"),
        (digest, download.sha256, "as sha256", "the table"),
        (digest, earlier and earlier.sha256, "as sha256", NAME),
    ):
        if wanted is not None and value != wanted:
            raise errors.RunError(
                f"{path}, from {download.url}, has {value} {unit}, but {source} has "
                f"{wanted}"
            )
    return Fetched(size, digest)


def is_complete(
    folder: pathlib.Path, download: table.Download, fetched: Fetched
) -> bool:
    """Whether a file, or all that an archive held, is in place with its size."""
    expected = fetched.content or {download.path: fetched.bytes}
    return all(_size(folder / path) == size for path, size in expected.items())


def _size(path: pathlib.Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
