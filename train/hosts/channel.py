"""Messages between two processes over TCP: JSON objects, each behind its length."""

import json
import socket
import struct
import threading
import time
from typing import Any

from clinometer.train import errors

_LENGTH = struct.Struct("!I")
_MOST_BYTES = 1 << 26  # Of a message; a longer one is not from us.
_RETRY_SECONDS = 0.25


class Channel:
    """A connection that carries messages; any thread may send, one receives."""

    def __init__(self, connection: socket.socket):
        """Takes over a connected socket."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self._sending = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message.

        Raises:
            OSError: the connection is lost.
        """
        content = json.dumps(message).encode()
        with self._sending:
            self.socket.sendall(_LENGTH.pack(len(content)) + content)

    def receive(self, seconds: float | None = None) -> dict[str, Any] | None:
        """Waits for a message.

        Args:
            seconds: the longest silence within it; None for no limit.

        Returns:
            The message, or None if the other end closed the connection.

        Raises:
            TimeoutError: the other end was silent for too long.
            OSError: the connection is lost.
            ValueError: it is not a message.
        """
        self.socket.settimeout(seconds)
        head = self._exactly(_LENGTH.size)
        if head is None:
            return None
        (length,) = _LENGTH.unpack(head)
        if length > _MOST_BYTES:
            raise ValueError(f"a message of {length} bytes")
        content = self._exactly(length)
        if content is None:
            return None
        message = json.loads(content)
        if not isinstance(message, dict):
            raise ValueError("a message that is not an object")
        return message

    def close(self) -> None:
        """Closes the connection."""
        self.socket.close()

    def _exactly(self, count: int) -> bytes | None:
        content = bytearray()
        while len(content) < count:
            part = self.socket.recv(min(count - len(content), 1 << 16))
            if not part:
                return None
            content += part
        return bytes(content)


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """Connects to a process that may not listen yet.

    Args:
        host: its name or address.
        port: its port.
        seconds: how long to try.

    Raises:
        RunError: there was no answer in that time; the message says why.
    """
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        try:
            connection = socket.create_connection((host, port), timeout=max(left, 0.1))
            connection.settimeout(None)
            return connection
        except OSError as error:  # Also of a name that is not known yet.
            if time.monotonic() + _RETRY_SECONDS >= end:
                raise errors.RunError(
                    f"no process answers at {host}:{port} within {seconds:g} s "
                    f"({error.strerror or error})"
                ) from error
            time.sleep(_RETRY_SECONDS)


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens.

    Args:
        host: the address to listen on; "" for all of this machine.
        port: the port; 0 for any free one.

    Raises:
        RunError: the port is not available.
    """
    try:
        if not host and socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True
            )
        return socket.create_server((host, port))
    except OSError as error:
        raise errors.RunError(
            f"cannot listen on port {port} of this machine: {error.strerror or error}"
        ) from error
