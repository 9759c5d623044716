"""Tests of the other processes: refusals, and the loss of process 0."""

import socket

import pytest

from clinometer.tests.train.hosts import meeting
from clinometer.train import errors
from clinometer.train.hosts import channel
from clinometer.train.hosts import hub
from clinometer.train.hosts import member


def test_a_closed_connection_is_the_loss_of_process_0():
    met = meeting.Meeting(2)
    met.groups[0]._members[1].socket.shutdown(socket.SHUT_RDWR)
    sentence = "process 0 (host0:1) is lost: its connection closed"
    assert met.losses[1].get(timeout=30) == (0, sentence)


def test_the_end_of_process_0_alone_is_a_loss(monkeypatch):
    monkeypatch.setattr(hub, "GRACE_SECONDS", 0.1)
    met = meeting.Meeting(2)
    met.groups[0].leave(7)
    sentence = "process 0 (host0:1) is lost: it ended with exit code 7"
    assert met.losses[1].get(timeout=30) == (0, sentence)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "host0:1 ended, or is not process 0 of a run"),
        (b"SSH-2.0-x\r\n", "host0:1 is not process 0 of a run"),
        (None, "process 0 does not go on within 0.2 s"),
    ],
)
def test_what_is_not_process_0_is_named(answer, problem):
    listener = channel.listen("127.0.0.1", 0)
    connection = channel.connect("127.0.0.1", listener.getsockname()[1], 10.0)
    far, _ = listener.accept()
    if answer is not None:
        far.sendall(answer)
        far.shutdown(socket.SHUT_WR)
    made = member.Member(
        channel.Channel(connection),
        1,
        2,
        "host1",
        hub="host0:1",
        timeout_seconds=60,
        on_lost=lambda *lost: None,
    )
    with pytest.raises(errors.RunError, match=problem):
        made.meet(0.2 if answer is None else 10.0)
