"""Tests what follows the end of a run's process, against the list of the issue."""

import pytest

from clinometer.tools.study.engines import policy

_NEXT = policy.Next


@pytest.mark.parametrize(
    ("code", "follows"),
    [
        (0, _NEXT.DONE),
        (1, _NEXT.FAIL),
        (2, _NEXT.FAIL),
        (42, _NEXT.AGAIN),
        (43, _NEXT.WAIT),
        (44, _NEXT.AGAIN),
        (-9, _NEXT.AGAIN),
        (-15, _NEXT.AGAIN),
        (130, _NEXT.FAIL),
        (policy.WORKER_LOST, _NEXT.AGAIN),
    ],
)
def test_one_policy(code, follows):
    assert policy.after(code, 1) is follows
    # After three tries without progress a run fails, but one that is held still waits.
    gives_up = follows is _NEXT.AGAIN
    assert policy.after(code, 2) is follows
    assert policy.after(code, 3) is (_NEXT.FAIL if gives_up else follows)
    # A study that is stopping starts nothing.
    stops = follows in (_NEXT.AGAIN, _NEXT.WAIT)
    assert policy.after(code, 1, stopping=True) is (_NEXT.STOP if stops else follows)


def test_endings_in_words():
    assert policy.described(-9) == "signal 9"
    assert policy.described(1) == "exit code 1"
    assert "worker" in policy.described(policy.WORKER_LOST)
