"""Downloads a file over HTTP; what was received stays, and the next try goes on.

`FILE.partial` holds what was received, `FILE.partial.json` the address and the version
of the file that it is part of (RFC 9110, Section 13.1.5: If-Range).
"""

from collections.abc import Callable
from collections.abc import Iterator
import http.client
import json
import os
import pathlib
import re
import time
from typing import Any
import urllib.error
import urllib.request

from clinometer.kernels.options import outputs
from clinometer.train import errors

_CHUNK = 1 << 18  # Bytes.
_TIMEOUT = 60.0  # Seconds without data.
_WAITS = (1.0, 4.0, 16.0)  # Seconds before each repetition.
_BROKEN = (http.client.HTTPException, OSError)
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

# Called with the bytes that are there, and the bytes of the file, if known.
Report = Callable[[int, int | None], None]


class _UnfinishedError(Exception):
    """The connection failed or ended early; a repetition may help."""


def partial_path(path: pathlib.Path) -> pathlib.Path:
    """Returns where the first part of a file is kept."""
    return path.with_name(path.name + ".partial")


def discard(path: pathlib.Path) -> None:
    """Removes what was received of a file.

    Args:
        path: where the file belongs.
    """
    partial = partial_path(path)
    for one in (_meta_path(partial), partial):
        one.unlink(missing_ok=True)


def download(
    url: str,
    path: pathlib.Path,
    report: Report = lambda done, total: None,
    *,
    size: int | None = None,
    has_sum: bool = False,
    wait: Callable[[float], None] = time.sleep,
) -> pathlib.Path:
    """Downloads a file, going on where an earlier try stopped.

    Args:
        url: the address, of http or https.
        path: where the file belongs; only its partial file is written.
        report: called from time to time.
        size: the size of the file in bytes; None if unknown.
        has_sum: whether its sum will be compared, which finds parts of two versions
            even if the server tells no versions.
        wait: called with the seconds before a repetition.

    Returns:
        The path of the partial file, which is complete.

    Raises:
        RunError: the server refused, the file has another size, or the connection
            failed several times.
        OSError: the file cannot be written.
    """
    partial = partial_path(path)
    for seconds in (*_WAITS, None):
        try:
            _attempt(url, partial, report, size, has_sum)
            return partial
        except _UnfinishedError as error:
            if seconds is None:
                raise errors.RunError(
                    f"{url}: {error}; {_size(partial):,} bytes are kept, and the same "
                    "command goes on from there"
                ) from error
            wait(seconds)
    raise AssertionError("the last repetition returns or raises")


def _attempt(
    url: str, partial: pathlib.Path, report: Report, size: int | None, has_sum: bool
) -> None:
    begin, version = _size(partial), _version(partial, url)
    if version is None or not (version or has_sum) or begin > (size or begin):
        begin = 0
    if size is not None and begin == size:
        return
    request = urllib.request.Request(
        url, headers={"User-Agent": "clinometer", "Accept-Encoding": "identity"}
    )
    if begin:
        request.add_header("Range", f"bytes={begin}-")
        if version:
            request.add_header("If-Range", version)
    try:
        response = _opener().open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and begin:
            return  # There is no more than was received.
        message = f"the server says {error.code} {error.reason}"
        if error.code >= 500 or error.code == http.HTTPStatus.TOO_MANY_REQUESTS:
            raise _UnfinishedError(message) from None
        raise errors.RunError(f"{url}: {message}") from None
    except _BROKEN as error:
        raise _UnfinishedError(getattr(error, "reason", None) or error) from error
    with response:
        _receive(url, response, partial, begin, report, size)


def _receive(
    url: str,
    response: Any,
    partial: pathlib.Path,
    begin: int,
    report: Report,
    size: int | None,
) -> None:
    """Writes what the server sends: all of the file, or what follows `begin`."""
    total = _length(response)
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != begin:
            raise errors.RunError(
                f"{url}: the server sends another part than asked for"
            )
        total = None if found[2] == "*" else int(found[2])
    else:
        begin = 0
    if size is not None and total not in (None, size):
        raise errors.RunError(
            f"{url}: the server has a file of {total:,} bytes, but the table says "
            f"{size:,}"
        )
    total = total if size is None else size
    if not begin:
        # Before the content, so that no part is taken for one of another version.
        discard(partial.with_name(partial.name.removesuffix(".partial")))
        meta = {"url": url, "version": _version_of(response)}
        outputs.write_text(_meta_path(partial), json.dumps(meta))
    with open(partial, "r+b" if begin else "wb") as file:
        done = file.seek(begin)
        file.truncate()
        report(done, total)
        for chunk in _chunks(response):
            done += len(chunk)
            if total is not None and done > total:
                raise errors.RunError(
                    f"{url}: the server sends more than {total:,} bytes"
                )
            file.write(chunk)
            report(done, total)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and done < total:
        raise _UnfinishedError(
            f"the connection ended after {done:,} of {total:,} bytes"
        )


def _chunks(response: Any) -> Iterator[bytes]:
    """Yields what the server sends; errors of the connection are `_UnfinishedError`."""
    while True:
        try:
            chunk = response.read(_CHUNK)
        except _BROKEN as error:
            raise _UnfinishedError(str(error) or type(error).__name__) from error
        if not chunk:
            return
        yield chunk


def _opener() -> urllib.request.OpenerDirector:
    """Returns what opens http and https addresses only, also after redirections."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _length(response: Any) -> int | None:
    """Returns the number of bytes that the server announces, or None."""
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isdecimal() else None


def _version_of(response: Any) -> str:
    """Returns what tells versions of a file apart, or "" if the server does not."""
    tag = response.headers.get("ETag", "")
    if tag and not tag.startswith("W/"):  # Weak ones are not accepted in If-Range.
        return tag
    return response.headers.get("Last-Modified", "")


def _version(partial: pathlib.Path, url: str) -> str | None:
    """Returns the version that a partial file is of, or None if it is of no use."""
    try:
        meta = json.loads(_meta_path(partial).read_text(encoding="utf-8"))
        return str(meta["version"]) if meta["url"] == url else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _meta_path(partial: pathlib.Path) -> pathlib.Path:
    return partial.with_name(partial.name + ".json")


def _size(path: pathlib.Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
