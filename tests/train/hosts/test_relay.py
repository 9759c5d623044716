"""Tests that relays carry bytes, and hide the end of the service from JAX."""

import socket
import threading

import pytest

from clinometer.train.hosts import channel
from clinometer.train.hosts import hub
from clinometer.train.hosts import relay


def _connected():
    """Returns the two ends of a connection by way of a relay and a hub."""
    service = channel.listen(relay.LOOPBACK, 0)
    listener = channel.listen(relay.LOOPBACK, 0)
    hub.Hub(
        listener,
        2,
        "host0",
        service_port=service.getsockname()[1],
        timeout_seconds=60,
        on_lost=lambda *lost: None,
    )
    made = relay.Relay(relay.LOOPBACK, listener.getsockname()[1])
    host, _, port = made.address.partition(":")
    near = channel.connect(host, int(port), 10.0)
    far, _ = service.accept()
    return near, far


def test_bytes_are_carried_both_ways():
    near, far = _connected()
    content = bytes(range(256)) * 5000
    for source, sink in ((near, far), (far, near)):
        threading.Thread(target=source.sendall, args=(content,)).start()
        got = b""
        while len(got) < len(content):
            got += sink.recv(1 << 16)
        assert got == content


def test_the_end_of_jax_reaches_the_service():
    near, far = _connected()
    near.shutdown(socket.SHUT_RDWR)
    far.settimeout(30.0)
    assert far.recv(1) == b""


def test_the_end_of_the_service_does_not_reach_jax():
    near, far = _connected()
    far.sendall(b"x")
    far.shutdown(socket.SHUT_RDWR)
    far.close()
    near.settimeout(0.5)
    assert near.recv(1) == b"x"
    with pytest.raises(TimeoutError):  # Still open.
        near.recv(1)
