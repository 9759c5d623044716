"""Carries the connections between JAX and its coordination service.

JAX aborts every process as soon as its connection to the service breaks, before Python
can say why and write the record. Each process other than 0 therefore connects to a
relay of its own, which keeps its end open when the service's end breaks; `member`
notices the latter.
"""

import contextlib
import socket
import threading

from clinometer.train import errors
from clinometer.train.hosts import channel as channel_lib

LOOPBACK = "127.0.0.1"
_SERVICE_SECONDS = 300.0  # The service starts after the processes have met.


class Relay:
    """Listens on this machine and carries each connection to the hub of process 0.

    Attributes:
        address: HOST:PORT that JAX connects to.
    """

    def __init__(self, host: str, port: int):
        """Starts to listen.

        Args:
            host: the hub's host.
            port: its port.
        """
        self._hub = (host, port)
        self._listener = channel_lib.listen(LOOPBACK, 0)
        self.address = f"{LOOPBACK}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        try:
            far = channel_lib.connect(*self._hub, seconds=_SERVICE_SECONDS)
            channel_lib.Channel(far).send({"kind": "relay"})
        except (errors.RunError, OSError):
            return  # `near` stays open: see above.
        threading.Thread(target=pump, args=(near, far), daemon=True).start()
        pump(far, near, close=False)


def to_service(far: socket.socket, port: int) -> None:
    """Carries a connection from a relay to JAX's service on this machine.

    Args:
        far: the connection, behind the relay's first message.
        port: the service's port.
    """
    far.settimeout(None)
    near = channel_lib.connect(LOOPBACK, port, seconds=_SERVICE_SECONDS)
    threading.Thread(target=pump, args=(near, far), daemon=True).start()
    pump(far, near)


def pump(source: socket.socket, sink: socket.socket, *, close: bool = True) -> None:
    """Copies bytes until either end closes.

    Args:
        source: where to read.
        sink: where to write.
        close: whether to close the sink at the end of the source.
    """
    with contextlib.suppress(OSError):
        while part := source.recv(1 << 16):
            sink.sendall(part)
    if close:
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
