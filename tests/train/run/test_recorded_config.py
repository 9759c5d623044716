"""Tests the parts of the record that say what a run is for in a study."""

import pytest

from clinometer.train import errors
from clinometer.train.configs import pretrain
from clinometer.train.run import record
from clinometer.train.run import recorded_config


def _record(**changes):
    contents = {
        "format_version": 1,
        "model": "transformer-pico",
        "status": "finished",
        "seed": 0,
        **changes,
    }
    return record.from_json(contents)


def test_a_run_of_a_study_says_what_it_is_for():
    study = {"role": "final", "pass_number": 2, "claims": "ab", "fixed_rate": 0.006}
    read = _record(config={"study": {**study, "rate_table": None}})
    assert (read.study.role, read.study.pass_number) == ("final", 2)
    assert (read.study.claims, read.study.rate_table) == ("ab", None)
    assert read.study.fixed_rate == 0.006
    assert read.to_json()["config"]["study"] == {**study, "rate_table": None}


def test_a_run_outside_of_studies_has_no_role():
    assert _record().study == recorded_config.Study()
    assert _record(config={}).study.role is None
    assert "study" not in _record(config={}).to_json()["config"]


def test_the_configuration_has_the_same_fields():
    fields = set(recorded_config.Study.from_json({}).__dict__) - {"rest", "present"}
    assert set(pretrain.get_config().study) == fields


@pytest.mark.parametrize(
    ("status", "error", "diverged"),
    [
        ("failed", "DivergedError: step 3: loss nan", True),
        ("failed", "RunError: no space left", False),
        ("failed", None, False),
        ("finished", "DivergedError: step 3", False),
    ],
)
def test_diverged_runs_are_told_from_other_failures(status, error, diverged):
    assert _record(status=status, error=error).diverged == diverged
    assert issubclass(errors.DivergedError, errors.RunError)
