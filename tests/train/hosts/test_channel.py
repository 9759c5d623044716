"""Tests of messages over TCP, and of connecting within a time limit."""

import threading

import pytest

from clinometer.train import errors
from clinometer.train.hosts import channel


def _pair():
    with channel.listen("127.0.0.1", 0) as listener:
        near = channel.connect("127.0.0.1", listener.getsockname()[1], 10.0)
        far, _ = listener.accept()
    return channel.Channel(near), channel.Channel(far)


def test_messages_arrive_whole_and_in_order():
    near, far = _pair()
    messages = [{"text": "ä" * 200_000}, {}, {"list": [1, None, 2.5]}]

    def send():
        for message in messages:
            near.send(message)
        near.close()

    threading.Thread(target=send).start()
    assert [far.receive(10.0) for _ in messages] == messages
    assert far.receive(10.0) is None


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "a message of 1195725856 bytes"),
        (b"\0\0\0\2[]", "not an object"),
        (b"\0\0\0\1{", "Expecting"),
    ],
)
def test_other_content_is_refused(content, error):
    near, far = _pair()
    near.socket.sendall(content)
    with pytest.raises(ValueError, match=error):
        far.receive(10.0)


def test_silence_is_a_timeout():
    near, far = _pair()
    with pytest.raises(TimeoutError):
        far.receive(0.05)
    near.close()


def test_an_absent_process_is_named_after_the_limit():
    with channel.listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    problem = rf"no process answers at 127.0.0.1:{port} within 0.5 s \(Connection ref"
    with pytest.raises(errors.RunError, match=problem):
        channel.connect("127.0.0.1", port, 0.5)


def test_a_process_that_listens_later_is_found():
    with channel.listen("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    found = []
    thread = threading.Thread(
        target=lambda: found.append(channel.connect("127.0.0.1", port, 30.0))
    )
    thread.start()
    with channel.listen("127.0.0.1", port) as listener:
        listener.accept()
        thread.join(30.0)
    assert len(found) == 1


def test_a_port_in_use_is_named():
    with channel.listen("", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(errors.RunError, match=f"port {port} .* already in use"):
            channel.listen("", port)
