"""Tests which runs fits leave out, and why."""

import pytest

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


@pytest.mark.parametrize(
    ("role", "why"),
    [
        ("final", None),
        (None, None),
        ("pilot", "a pilot run, which enters no fit"),
        ("sweep", "a sweep run, which enters no fit"),
    ],
)
def test_pilot_and_sweep_runs_enter_no_fit(tmp_path, role, why):
    assert _left_out(
        tmp_path, synthetic_study.record(config__study={"role": role})
    ) == {"run0": why}
