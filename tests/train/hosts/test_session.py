"""Tests of how a command of one or several processes ends."""

import argparse

import pytest

from clinometer.data.errors import DataError
from clinometer.kernels.options.errors import OptionError
from clinometer.train import errors
from clinometer.train.hosts import distributed
from clinometer.train.hosts import group as group_lib
from clinometer.train.hosts import options
from clinometer.train.hosts import session as session_lib


def _run(work, *given):
    parser = argparse.ArgumentParser()
    options.add_to(parser)
    return session_lib.run("clinometer x", parser.parse_args(given), work)


def test_the_work_of_one_process_returns_its_code():
    def work(session):
        assert session.is_first
        assert (session.group.index, session.group.size) == (0, 1)
        return 42

    assert _run(work) == 42


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OptionError("--steps: x"), 2),
        (errors.RunError("--steps: x"), 1),
        (errors.RunHeldError("--steps: x"), 43),
        (DataError("--steps: x"), 1),
    ],
)
def test_an_error_of_the_input_is_a_line(error, code, capsys):
    def work(session):
        raise error

    assert _run(work) == code
    assert capsys.readouterr().err == "clinometer x: error: --steps: x\n"


def test_bad_options_are_a_line(capsys):
    assert _run(lambda session: 0, "--process-id=1") == 2
    assert capsys.readouterr().err.startswith("clinometer x: error: --process-id: also")


def test_another_error_of_one_process_is_raised():
    def work(session):
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        _run(work)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyError("a bug"), 1, "KeyError: 'a bug'\n"),
        (KeyboardInterrupt(), 130, "\nclinometer x: interrupted\n"),
    ],
)
def test_another_error_of_several_processes_ends_this_one(
    monkeypatch, capsys, error, code, said
):
    """Python's own end would first wait for the others."""
    ended = []
    group = group_lib.Group(1, 2)
    monkeypatch.setattr(distributed, "start", lambda *unused: group)
    monkeypatch.setattr(distributed, "check_devices", lambda *unused: None)
    monkeypatch.setattr(distributed.departure_lib, "end", ended.append)

    def work(session):
        assert not session.is_first
        raise error

    _run(work)
    assert ended == [code]
    assert capsys.readouterr().err.endswith(said)
