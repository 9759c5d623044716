"""Tests of process 0: meeting the others, gathering values, and noticing losses."""

import contextlib
import queue
import socket

import pytest

from clinometer.tests.train.hosts import meeting
from clinometer.train import errors
from clinometer.train.hosts import channel
from clinometer.train.hosts import group
from clinometer.train.hosts import hub
from clinometer.train.hosts import member


def test_values_are_gathered_by_index():
    met = meeting.Meeting(3)
    for call in range(3):
        values = met.each(lambda g, call=call: g.gather([g.index, call]))
        assert values == [[[0, call], [1, call], [2, call]]] * 3
    assert met.each(lambda g: g.broadcast(f"from {g.index}")) == ["from 0"] * 3
    assert met.each(lambda g: (g.index, g.size)) == [(0, 3), (1, 3), (2, 3)]


def test_one_process_gathers_its_own_value():
    alone = group.Group()
    assert (alone.index, alone.size) == (0, 1)
    assert alone.gather("x") == ["x"]
    assert alone.broadcast("x") == "x"
    alone.leave(1)


def test_a_closed_connection_is_a_loss_for_all():
    met = meeting.Meeting(3)
    met.channels[1].socket.shutdown(socket.SHUT_RDWR)
    sentence = "process 1 (host1) is lost: its connection closed"
    assert met.losses[0].get(timeout=30) == (1, sentence)
    assert met.losses[2].get(timeout=30) == (1, sentence)


def test_silence_is_a_loss():
    met = meeting.Meeting(2, timeout_seconds=0.4)
    met.channels[1].send = lambda message: None  # As of a stopped process.
    sentence = "process 1 (host1) is lost: no sign of life for 0.4 s"
    assert met.losses[0].get(timeout=30) == (1, sentence)


def test_both_sides_give_signs_of_life(monkeypatch):
    monkeypatch.setattr(hub, "BEATS_PER_TIMEOUT", 600)  # One each 0.1 s.
    met = meeting.Meeting(2)
    sent = queue.SimpleQueue()
    met.groups[0]._members[1].send = sent.put
    met.channels[1].send = sent.put
    assert [sent.get(timeout=30) for _ in range(6)] == [{}] * 6
    assert met.losses[0].empty() and met.losses[1].empty()


def test_leaving_together_is_no_loss():
    met = meeting.Meeting(2)
    met.each(lambda g: g.leave(0))
    met.channels[1].socket.shutdown(socket.SHUT_RDWR)
    assert met.each(lambda g: g.index) == [0, 1]
    assert met.losses[0].empty() and met.losses[1].empty()


def test_leaving_alone_is_a_loss_after_a_while(monkeypatch):
    monkeypatch.setattr(hub, "GRACE_SECONDS", 0.1)
    met = meeting.Meeting(3)
    met.groups[1].leave(7)
    sentence = "process 1 (host1) is lost: it ended with exit code 7"
    assert met.losses[0].get(timeout=30) == (1, sentence)
    assert met.losses[2].get(timeout=30) == (1, sentence)


def _hub(size, listener):
    return hub.Hub(
        listener,
        size,
        "host0",
        service_port=0,
        timeout_seconds=60,
        on_lost=lambda *lost: None,
    )


def _member(index, size, listener):
    connection = channel.connect("127.0.0.1", listener.getsockname()[1], 10.0)
    return member.Member(
        channel.Channel(connection),
        index,
        size,
        f"host{index}",
        hub="host0:1",
        timeout_seconds=60,
        on_lost=lambda *lost: None,
    )


@pytest.mark.parametrize(
    ("joins", "problem"),
    [
        ([(1, 4)], "did not start within 0.5 s: process 2, 3"),
        ([(1, 2)], r"--num-processes is 2 in process 1 \(host1\) and 4 in process 0"),
        ([(2, 4), (2, 4)], "--process-id 2 was given to two processes, on host2 and"),
        ([(0, 4)], "--process-id 0 was given to two processes, on host0 and on host0"),
    ],
)
def test_a_wrong_meeting_is_refused_by_all(joins, problem):
    listener = channel.listen("127.0.0.1", 0)
    first = _hub(4, listener)
    members = [_member(index, size, listener) for index, size in joins]
    with pytest.raises(errors.RunError, match=problem):
        first.meet(0.5)
    for each in members:
        with pytest.raises(errors.RunError, match=problem):
            each.meet(10.0)


def test_strangers_are_ignored():
    listener = channel.listen("127.0.0.1", 0)
    first = _hub(2, listener)
    for content in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\2[]", b""):
        stranger = channel.connect("127.0.0.1", listener.getsockname()[1], 10.0)
        with contextlib.suppress(OSError):  # The hub may have closed it already.
            stranger.sendall(content)
            stranger.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert stranger.recv(1) == b""  # The hub has closed it.
    other = _member(1, 2, listener)
    first.meet(10.0)
    other.meet(10.0)
