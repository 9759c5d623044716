"""Tests which runs fits leave out, and why."""

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import selection


def _left_out(tmp_path, *contents):
    for i, content in enumerate(contents):
        synthetic_study.write_run(tmp_path / f"run{i}", content)
    rows = synthetic_study.rows(tmp_path)
    assert [row for row in rows if selection.why_left_out(row, rows) is None] == (
        selection.usable(rows)
    )
    return {row["run"]: selection.why_left_out(row, rows) for row in rows}


def test_each_reason(tmp_path):
    record = synthetic_study.record
    found = _left_out(
        tmp_path,
        record(),
        record(),
        record("nano", status="stopped", metrics__step=40),
        record("micro", **{"metrics__validation/loss": float("nan")}),
    )
    assert found["run0"] is None
    assert found["run1"].startswith("a copy of run0")
    assert found["run2"] == "stopped at step 40 of 600"
    assert found["run3"] == "no finite validation loss"


def _with_roles(*roles):
    return [
        synthetic_study.record(seed=seed, config__study={"role": role})
        for seed, role in enumerate(roles)
    ]


def test_pilot_and_sweep_runs_enter_no_fit_of_others(tmp_path):
    found = _left_out(tmp_path, *_with_roles("final", "pilot", "sweep", None))
    assert found == {
        "run0": None,
        "run1": "a pilot run, which enters no fit of other runs",
        "run2": "a run of a sweep of learning rates, which enters no fit",
        "run3": None,
    }


def test_a_pilot_has_fits_of_its_own(tmp_path):
    assert _left_out(tmp_path, *_with_roles("pilot", "pilot")) == {
        "run0": None,
        "run1": None,
    }
