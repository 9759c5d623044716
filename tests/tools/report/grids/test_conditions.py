"""Tests the table of conditions on the page."""

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report.grids import conditions


def test_values_and_differences_are_shown(tmp_path):
    record = synthetic_study.record
    synthetic_study.write_run(tmp_path / "a", record())
    synthetic_study.write_run(tmp_path / "b", record("nano"))
    rows = [rows_lib.make_row(run) for run in records.load_runs(tmp_path)]
    same = _shown(rows)
    assert conditions.keys(rows) == [rows[0]["comparability_key"]]
    assert "c0ffee" in same and "differs" not in same
    rows[1] = {**rows[1], "dtype": "bfloat16", "comparability_key": "other"}
    mixed = _shown(rows)
    assert "none; bfloat16" in mixed and "differs" in mixed
    assert conditions.keys([]) == []


def _shown(rows):
    return [cell.shown for row in conditions.make(rows).body for cell in row]
