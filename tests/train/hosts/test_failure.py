"""Tests of which process writes the status "failed" of a lost run."""

import dataclasses

import pytest

from clinometer.train import errors
from clinometer.train.hosts import failure
from clinometer.train.run import directory as run_directory
from clinometer.train.run import lease
from clinometer.train.run import record


@pytest.fixture
def run(tmp_path):
    """A run directory whose run is running."""
    made = run_directory.RunDirectory(tmp_path)
    made.write_record(
        record.Record(
            model="transformer-pico", kind="pretraining", status="running", seed=0
        )
    )
    return made


def _state(run):
    found = run.record()
    return found.status, found.error


def test_process_0_writes_it_and_releases_the_lease(run):
    held = run.lease()
    with held:
        failure.Failure(run, 0, held)("process 1 is lost", False)
        assert _state(run) == ("failed", "process 1 is lost")
        with run.lease():  # Before process 0 has ended.
            pass


def test_another_process_leaves_it_to_process_0(run):
    failure.Failure(run, 1, None)("process 2 is lost", False)
    assert _state(run) == ("running", None)


def test_without_process_0_another_process_writes_it(run):
    failure.Failure(run, 1, None)("process 0 is lost", True)
    failure.Failure(run, 2, None)("process 0 is really lost", True)
    assert _state(run) == ("failed", "process 0 is lost")


def test_who_does_not_get_the_lease_does_not_write(run):
    with lease.Lease(run.path):
        failure.Failure(run, 1, None)("process 0 is stuck", True)
    assert _state(run) == ("running", None)


def test_who_was_taken_over_does_not_write(run):
    held = run.lease()
    with held:
        (run.path / "lease" / "2.json").write_text('{"owner": "x"}')
        with pytest.raises(errors.RunHeldError, match="was taken over"):
            failure.Failure(run, 0, held)("process 1 is lost", False)
    assert _state(run) == ("running", None)


@pytest.mark.parametrize("status", ["finished", "stopped", "failed"])
def test_a_run_that_has_ended_keeps_its_status(run, status):
    run.write_record(dataclasses.replace(run.record(), status=status, error="before"))
    failure.Failure(run, 1, None)("process 0 is lost", True)
    assert _state(run) == (status, "before")


def test_a_run_without_a_record_has_none_afterwards(tmp_path):
    directory = run_directory.RunDirectory(tmp_path)
    failure.Failure(directory, 1, None)("process 0 is lost", True)
    assert not directory.has_record
