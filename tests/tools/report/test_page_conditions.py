"""Tests the table of conditions on the page."""

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import page_conditions
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib


def test_values_and_differences_are_shown(tmp_path):
    record = synthetic_study.record
    synthetic_study.write_run(tmp_path / "a", record())
    synthetic_study.write_run(tmp_path / "b", record("nano"))
    rows = [rows_lib.make_row(run) for run in records.load_runs(tmp_path)]
    same = page_conditions.render(rows)
    assert f"Key: {rows[0]['comparability_key']}<" in same
    assert ">c0ffee<" in same and ">differs<" not in same
    rows[1] = {**rows[1], "dtype": "bfloat16", "comparability_key": "other"}
    mixed = page_conditions.render(rows)
    assert ">none; bfloat16<" in mixed and ">differs<" in mixed
    assert "Key: none" in page_conditions.render([])
