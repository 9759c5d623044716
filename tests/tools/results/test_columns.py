"""Tests the documentation of columns against the table of runs."""

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.results import columns
from clinometer.tools.results import errors


def test_kinds_agree_with_a_table_of_runs(tmp_path):
    synthetic_study.write_study(tmp_path)
    for row in synthetic_study.rows(tmp_path):
        for name, value in row.items():
            if value is None:
                continue
            kind = columns.kind(name)
            assert (kind is columns.Kind.FLAG) == isinstance(value, bool), name
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            assert (kind is columns.Kind.NUMBER) == is_number, name


def test_imported_columns_are_those_of_runs_csv_or_documented_here():
    own = {column.name for column in columns.OWN}
    assert {c.name for c in columns.IMPORTED} <= own | set(rows_lib.COLUMNS)
    assert not own & set(rows_lib.COLUMNS)


@pytest.mark.parametrize(
    "name, unit",
    [
        ("score_glue", "percent"),
        ("score_a_standard_error", "percent"),
        ("likelihood_rte", "percent"),
        ("tokens_seen", "tokens"),
    ],
)
def test_patterns(name, unit):
    assert columns.describe(name).unit == unit


def test_others():
    assert columns.describe("wall_total_seconds") is None
    with pytest.raises(errors.ResultsError, match="score_TASK"):
        columns.describe("score_")
    names = ["score_a", "score_a_standard_error", "likelihood_b"]
    assert columns.tasks(names) == ["a"]
    assert columns.tasks(names, "likelihood") == ["b"]
    assert "validation_loss_nats (nats per token)" in columns.table()
