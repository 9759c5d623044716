"""Tests the way from the table of runs to the design and its fitted model."""

import numpy as np
import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.fit import errors
from clinometer.tools.report import study_fit


def _study(tmp_path, contents, mixed=()):
    for i, content in enumerate(contents):
        synthetic_study.write_run(tmp_path / f"run{i}", content)
    return study_fit.of_rows(synthetic_study.rows(tmp_path), mixed)


def test_runs_become_cells_orders_and_initialisations(tmp_path):
    losses = {
        ("transformer", "pico", 1, 11): 4.5,
        ("transformer", "pico", 1, 12): 4.6,
        ("transformer", "pico", 2, 21): 4.8,
        ("glu", "nano", 2, 21): 4.2,
    }
    synthetic_study.write_losses(tmp_path, losses)
    study = study_fit.of_rows(synthetic_study.rows(tmp_path))
    cells = {cell.label: cell for cell in study.design.cells}
    assert set(cells) == {"transformer pico", "glu nano"}
    counts = synthetic_study.record("nano")["counts"]
    assert cells["glu nano"].flops == 600 * counts["flops_train_step"]
    assert (cells["glu nano"].width, study.design.orders) == (48, ("1", "2"))
    # Order 2 is worse by 0.25; means are at the average of the orders.
    means = dict(zip(cells, study.means))
    assert means["transformer pico"] == pytest.approx((4.55 + 4.8) / 2)
    assert means["glu nano"] == pytest.approx(4.2 - 0.125)
    assert study.cell_of_run["glu-nano-o2-s21"] == [*cells].index("glu nano")


def test_sizes_of_one_width_are_cells_of_their_own(tmp_path):
    deep = synthetic_study.record(
        "nano", model="transformer-NL4-nano", counts__flops_train_step=9e9
    )
    deep["config"]["model"]["name"] = "transformer-NL4-nano"
    study = _study(tmp_path, [synthetic_study.record("nano"), deep])
    assert [cell.label for cell in study.design.cells] == [
        "transformer nano",
        "transformer NL4-nano",
    ]


def test_records_without_an_order_share_one(tmp_path):
    record = synthetic_study.record
    study = _study(tmp_path, [record(), record(seed=1), record("nano")])
    assert len(study.design.orders) == 1 and study.fitted is not None


def test_what_is_not_known_has_a_reason(tmp_path):
    record = synthetic_study.record
    study = _study(tmp_path / "single", [record(), record("nano")])
    assert study.fitted is None and "no replicates" in study.reason
    losses = [record(s)["metrics"]["validation/loss"] for s in ("pico", "nano")]
    np.testing.assert_allclose(study.means, losses)
    study = _study(tmp_path / "failed", [record(status="failed")])
    assert study.design is None and "one or more finished runs" in study.reason


def test_models_that_this_version_does_not_know_are_in_no_cell(tmp_path):
    record = synthetic_study.record
    study = _study(tmp_path, [record(), record(seed=1), record(architecture="gone")])
    assert study.left_out == {"run2": "its record lacks d_model"}
    assert set(study.cell_of_run) == {"run0", "run1"}


def test_runs_under_several_conditions_form_no_design(tmp_path):
    contents = [
        synthetic_study.record(seed=seed, config__schedule={"learning_rate": rate})
        for seed, rate in ((0, 0.006), (1, 0.03))
    ]
    study = _study(tmp_path, contents, ("rate_protocol", "learning_rate"))
    assert study.design is None and "(rate_protocol)" in study.reason
    with pytest.raises(errors.FitError, match=r"\(rate_protocol\)"):
        study_fit.of_rows(synthetic_study.rows(tmp_path))
