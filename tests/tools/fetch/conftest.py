"""A server of files on loopback that fails as it is told."""

from collections.abc import Iterator
import dataclasses
import http.server
import threading

import pytest


@dataclasses.dataclass
class Server:
    """What the server has, does, and was asked.

    Attributes:
        address: its address, "http://127.0.0.1:PORT".
        files: content by path.
        redirects: address by path.
        statuses: for the next requests, the status that each of them fails with.
        cuts: for the next requests, the bytes after which the connection ends.
        takes_ranges: whether it sends parts of files.
        version: the ETag of all files; "" for none.
        asked: path, Range header and status of all requests.
    """

    address: str = ""
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    redirects: dict[str, str] = dataclasses.field(default_factory=dict)
    statuses: list[int] = dataclasses.field(default_factory=list)
    cuts: list[int] = dataclasses.field(default_factory=list)
    takes_ranges: bool = True
    version: str = '"1"'
    asked: list[tuple[str, str | None, int]] = dataclasses.field(default_factory=list)


def _handler(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            content, wanted = server.files.get(self.path), self.headers["Range"]
            unchanged = self.headers["If-Range"] in (None, server.version)
            begin = 0
            if server.statuses:
                status, content = server.statuses.pop(0), b""
            elif self.path in server.redirects:
                status, content = 302, b""
            elif content is None:
                status, content = 404, b""
            elif wanted and server.takes_ranges and unchanged:
                begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
                status = 206 if begin < len(content) else 416
            else:
                status = 200
            server.asked.append((self.path, wanted, status))
            body = content[begin:] if status in (200, 206) else b""
            self.send_response(status)
            if status == 206:
                end, size = len(content) - 1, len(content)
                self.send_header("Content-Range", f"bytes {begin}-{end}/{size}")
            if status == 302:
                self.send_header("Location", server.redirects[self.path])
            if server.version:
                self.send_header("ETag", server.version)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if body and server.cuts:
                body = body[: server.cuts.pop(0)]
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *unused):
            pass

    return Handler


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    """A server without files."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    state = Server()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(state)) as web:
        state.address = f"http://127.0.0.1:{web.server_port}"
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        yield state
        web.shutdown()
        thread.join()
