"""Tests that runs.csv has stable columns and the values of the records."""

import csv
import io

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib


def _row(tmp_path, **changes):
    synthetic_study.write_run(tmp_path / "a", synthetic_study.record(**changes))
    return rows_lib.make_row(records.load_runs(tmp_path)[0])


def test_values_survive_the_csv(tmp_path):
    row = _row(tmp_path, size="nano", seed=3)
    (parsed,) = csv.DictReader(io.StringIO(rows_lib.write_csv([row])))
    record = synthetic_study.record("nano", 3)
    assert float(parsed["validation_loss_nats"]) == record["metrics"]["validation/loss"]
    assert int(parsed["params_total"]) == record["counts"]["params_total"]
    assert float(parsed["wall_step_seconds"]) == record["wall_seconds"]["step"]
    assert (parsed["architecture"], parsed["size"]) == ("transformer", "nano")
    assert (parsed["seed"], parsed["speed_noisy"], parsed["mfu"]) == ("3", "false", "")
    assert parsed["versions"] == "jax=0.10.2 python=3.11.7"


def test_columns_are_stable():
    assert rows_lib.COLUMNS[:4] == ("run", "model", "architecture", "size")
    assert len(set(rows_lib.COLUMNS)) == len(rows_lib.COLUMNS)


def test_missing_values_are_empty(tmp_path):
    row = _row(tmp_path, counts={}, speed={})
    (parsed,) = csv.DictReader(io.StringIO(rows_lib.write_csv([row])))
    assert parsed["params_total"] == parsed["steps_per_second_median"] == ""
