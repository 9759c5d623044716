"""Serves the page of a running study on this machine: `clinometer report DIR --serve`.

There are two addresses, `/` and `/version`. Only the runs below the folder are read for
them, and nothing is written. The page asks for the version every few seconds and loads
itself again when it has changed.
"""

from collections.abc import Callable
import hashlib
from http import server
import os
import pathlib
import threading
import time

import markupsafe

HOST = "127.0.0.1"
_WATCHED = (".json", ".jsonl")  # Ends of names: records, logs and the study.
_HOSTS = (HOST, "localhost")
_SECONDS = 2.0  # Between two looks at the folder.
_FAILED = (
    '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>No report yet</title>'
    '<meta http-equiv="refresh" content="5"><p>{}</p></html>\n'
)


def version(directory: pathlib.Path) -> str:
    """Returns a digest of sizes and times of the records and logs in a folder."""
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(set(folders) - {"checkpoints"})
        for name in sorted(names):
            if not name.endswith(_WATCHED):
                continue
            path = pathlib.Path(folder, name)
            try:
                found = path.stat()
            except OSError:  # It has gone meanwhile.
                continue
            place = path.relative_to(directory).as_posix()
            digest.update(f"{place} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


class Pages:
    """The current page of a folder, made again when its runs have moved.

    Attributes:
        version: of the page that `html` returns.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        make: Callable[[], str],
        seconds: float = _SECONDS,
    ) -> None:
        """Initializes without a page.

        Args:
            directory: the folder that is watched.
            make: returns its page; its errors are shown in place of one.
            seconds: between two looks at the folder.
        """
        self.version = ""
        self._directory, self._make, self._seconds = directory, make, seconds
        self._lock, self._html, self._looked = threading.Lock(), "", 0.0

    def current(self) -> tuple[str, str]:
        """Returns the version and the HTML of the page."""
        with self._lock:
            if not self._html or time.monotonic() - self._looked >= self._seconds:
                found = version(self._directory)
                if found != self.version:
                    self._html, self.version = self._made(), found
                self._looked = time.monotonic()
            return self.version, self._html

    def _made(self) -> str:
        try:
            return self._make()
        except Exception as error:  # A record may be written just now.
            return _FAILED.format(markupsafe.escape(f"{type(error).__name__}: {error}"))


def create(pages: Pages, port: int) -> server.ThreadingHTTPServer:
    """Returns a server of a page on the loopback interface, which is not running yet.

    Args:
        pages: what it serves.
        port: its port; 0 for any free one.

    Raises:
        OSError: the port is taken.
    """

    class Handler(server.BaseHTTPRequestHandler):
        """Answers GET and HEAD."""

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, with_body: bool) -> None:
            # Names that lead here from elsewhere could read the page from a browser.
            host = (self.headers.get("Host") or "").rpartition(":")[0]
            if host not in _HOSTS:
                self.send_error(403)
                return
            if self.path not in ("/", "/version"):
                self.send_error(404)
                return
            found, html = pages.current()
            kind, text = ("html", html) if self.path == "/" else ("plain", found)
            body = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *unused: object) -> None:
            """Is silent: the page asks every few seconds."""

    return server.ThreadingHTTPServer((HOST, port), Handler)
