"""Tests all laws together, on published rows and on runs."""

import csv
import io

import pytest

from clinometer.tests.tools.laws import ladders
from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.fit import errors
from clinometer.tools.laws import summary
from clinometer.tools.laws import tables
from clinometer.tools.results import frame as frame_lib
from clinometer.tools.results import published


@pytest.fixture(scope="module")
def laws():
    return summary.of_frame(published.of_table(4))


def _rows(laws, name):
    return list(csv.DictReader(io.StringIO(tables.of_laws(laws)[name])))


def test_tables_of_the_published_rows(laws):
    made = tables.of_laws(laws)
    assert set(made) == {
        *("alphas.csv", "alpha_variants.csv", "equation_one.csv", "size_and_data.csv"),
        *("downstream_laws.csv", "held_out.csv", "frontiers.csv", "efficient.csv"),
        "paper_claims.csv",
    } - ({"size_and_data.csv"} if not laws.surfaces else set())
    # Printed and computed multiply-adds are columns of their own.
    xs = {row["x"] for row in _rows(laws, "alpha_variants.csv")}
    assert {"papers_macs_forward_batch", "printed_macs_forward_batch"} <= xs
    up, down = _rows(laws, "equation_one.csv")
    assert float(up["r_squared"]) == pytest.approx(0.990, abs=5e-4)
    assert float(down["r_squared"]) == pytest.approx(0.961, abs=5e-4)
    off = {r["runs"] for r in _rows(laws, "efficient.csv") if r["efficient"] == "False"}
    assert {"Table 4: Base", "Table 4: XL"} <= off
    claims = _rows(laws, "paper_claims.csv")
    assert {row["judged"] for row in claims} == {"afterwards"} and len(claims) == 9


def test_held_out_errors_of_the_published_rows(laws):
    found = {(row["law"], row["x"]): row for row in _rows(laws, "held_out.csv")}
    power = found["power law with floor", "params_total"]
    assert power["model"] == "transformer-xxl" and power["points"] == "13"
    # The curve misses the largest by less than the straight line does.
    line = found["straight line", "params_total"]
    assert abs(float(power["error"])) < abs(float(line["error"]))


def test_a_changed_cell_changes_the_tables(laws):
    table = published.of_table(4)
    table.loc[table["run"] == "Table 4: Large", "score_superglue"] = 72.0
    other = tables.of_laws(summary.of_frame(table))
    same = tables.of_laws(laws)
    changed = {name for name in same if other[name] != same[name]}
    assert {"alphas.csv", "equation_one.csv", "frontiers.csv"} <= changed


def test_runs_of_several_lengths():
    rows = []
    for steps in (100, 400):
        for row in ladders.ladder(sizes=ladders.SIZES[:5]):
            n = row["params_total"]
            tokens = n * steps / 20
            row |= {"run": f"{row['run']}-{steps}", "train_steps": steps}
            row |= {"tokens_seen": tokens, "training_flops": 4.5 * n * tokens}
            row["validation_loss_nats"] += 400 * tokens**-0.28
            rows.append(row)
    found = summary.of_frame(ladders.frame(rows))
    assert found.surfaces[0].points == 10
    assert found.surfaces[0].law.data_exponent == pytest.approx(0.28, rel=1e-4)
    # The longest of those with as many models.
    assert sorted(found.other_lengths) == sorted(
        row["run"] for row in rows if row["train_steps"] == 100
    )
    assert {one.points for one in found.alphas} == {5, 0}


def test_too_many_models_are_refused():
    rows = [{"run": f"r{i}", "model": f"glu-s{i}"} for i in range(401)]
    with pytest.raises(errors.FitError, match="401 models; accepted: up to 400"):
        summary.of_frame(ladders.frame(rows))


def test_a_folder_of_runs(tmp_path):
    synthetic_study.write_study(tmp_path)
    frame = frame_lib.read(tmp_path)
    found = summary.of_frame(frame)
    assert found.tasks == () and found.efficient == ()
    assert found.surfaces[0].law is None and found.surfaces[0].reason
    alphas = _rows(found, "alphas.csv")
    assert [row["interval_of"] for row in alphas] == ["runs", "", "runs", "", ""]
    frame.loc[0, "corpus_hash"] = "other"
    with pytest.raises(errors.FitError, match="corpus_hash"):
        summary.of_frame(frame)
