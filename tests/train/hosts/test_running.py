"""Tests of what the training loop shares with the other processes."""

import pathlib

import jax
import pytest

from clinometer.tests.train.hosts import meeting
from clinometer.train import errors
from clinometer.train.configs import pretrain
from clinometer.train.hosts import group as group_lib
from clinometer.train.hosts import running
from clinometer.train.hosts import session as session_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import lease


def test_process_0_acts_for_all():
    acted = []
    met = meeting.Meeting(3)
    done = met.each(lambda g: running.by_first(g, lambda: acted.append(g.index)))
    assert done == [None] * 3
    assert acted == [0]


@pytest.mark.parametrize("kind", [errors.RunHeldError, errors.RunError])
def test_an_error_of_process_0_is_one_of_all(kind):
    def act():
        raise kind("no")

    results = meeting.Meeting(3).each(lambda g: running.by_first(g, act))
    assert [type(result) for result in results] == [kind] * 3
    assert {str(result) for result in results} == {"no"}


def test_an_error_of_the_disk_is_told_to_the_others():
    def act(group):
        try:
            running.by_first(group, pathlib.Path("/nowhere/x").read_text)
        except OSError as error:
            return error.filename

    first, second = meeting.Meeting(2).each(act)
    assert first == "/nowhere/x"
    assert isinstance(second, errors.RunError) and "/nowhere/x" in str(second)


@pytest.fixture
def enter(tmp_path):
    """Returns a function that enters a run of one process."""
    directory = run_directory.RunDirectory(tmp_path / "run")
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def begin(session):
        return running.entered(session, directory, pretrain.get_config(), mesh)

    return begin


def test_a_run_is_held_while_it_is_entered(enter, tmp_path):
    session = session_lib.alone()
    with enter(session) as hosts:
        with pytest.raises(errors.RunHeldError):
            lease.Lease(tmp_path / "run").__enter__()
        hosts.check_lease()
        assert session.departure.record is not None
        (tmp_path / "run" / "lease" / "1.json").unlink()
        with pytest.raises(errors.RunHeldError, match="was removed"):
            hosts.check_lease()
    assert session.departure.record is None
    with lease.Lease(tmp_path / "run"):
        pass


def test_the_stop_file_is_removed_when_the_run_has_stopped(enter, tmp_path):
    file = tmp_path / "run" / "stop"
    with enter(session_lib.alone()) as hosts:
        file.touch()
        hosts.stop._request.set()
        assert hosts.stop.agreed
    assert not file.exists()
    file.touch()
    with pytest.raises(ZeroDivisionError), enter(session_lib.alone()):
        raise ZeroDivisionError
    assert file.exists()


@pytest.mark.parametrize(
    ("size", "error", "waits"),
    [
        (2, ValueError("Gloo all-reduce failed"), True),
        (2, errors.RunError("the checkpoint could not be written"), True),
        (2, errors.DivergedError("step 3: the loss is nan"), False),
        (2, errors.RunHeldError("taken over"), False),
        (2, KeyboardInterrupt(), False),
        (1, ValueError("a bug"), False),
    ],
)
def test_what_may_be_the_loss_of_a_process_waits_for_news(
    monkeypatch, size, error, waits
):
    slept = []
    monkeypatch.setattr(running.time, "sleep", slept.append)
    hosts = running.Running(group_lib.Group(0, size), None, None, None)
    hosts.await_news(error)
    assert slept == ([30.0] if waits else [])
