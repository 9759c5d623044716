"""Tests of the helper that starts several processes."""

import os
import signal
import sys

import pytest

from clinometer.tests.train import processes


def _say(code):
    return [sys.executable, "-c", code]


def test_exit_codes_and_output_are_those_of_each(tmp_path):
    commands = [_say("print('one')"), _say("import sys; sys.exit('two')")]
    with processes.Group(tmp_path, commands) as group:
        assert group.wait(60) == [0, 1]
        assert group.wait(60, 1) == [1]
        assert [group.output(i) for i in range(2)] == ["one\n", "two\n"]


def test_a_process_that_does_not_end_is_killed_and_shown(tmp_path):
    forever = _say("print('here', flush=True)\nimport time\nwhile True: time.sleep(9)")
    with processes.Group(tmp_path, [forever, forever]) as group:
        while "here" not in group.output(0):
            pass
        group.children[0].send_signal(signal.SIGSTOP)
        with pytest.raises(AssertionError, match=r"not ended in 0.1 s\n--- .*\nhere"):
            group.wait(0.1)
        pids = [process.pid for process in group.children]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_the_environment_is_that_of_this_process_with_changes(tmp_path, monkeypatch):
    for name in ("DROPPED", "KEPT"):
        monkeypatch.setenv(name, "1")
    code = "import os; print([os.environ.get(n) for n in ('DROPPED', 'KEPT', 'NEW')])"
    with processes.Group(tmp_path, [_say(code)], DROPPED="", NEW="2") as group:
        assert group.wait(60) == [0]
        assert group.output(0) == "[None, '1', '2']\n"
