"""Tests of the checks of the data, on written logs."""

import pytest

from clinometer.tests.tools.diagnose import written
from clinometer.tools.diagnose import data
from clinometer.tools.diagnose import finding
from clinometer.tools.diagnose import telemetry


def read(tmp_path, records, **fields):
    return telemetry.read(written.write(tmp_path / "run", records, **fields))


def test_a_healthy_run(tmp_path):
    run = read(tmp_path, written.healthy())
    for check in (data.repeats, data.validation_rise, data.gap, data.waiting):
        assert check(run) == []


def test_repeated_data(tmp_path):
    """500 tokens a step of 60,000 are 8.33 passes in 1,000 steps, 4 after 480."""
    tokens = {"train_tokens": 60_000, "tokens_seen": 500_000}
    (found,) = data.repeats(read(tmp_path, written.healthy(), data=tokens))
    assert found.step == 480
    assert found.evidence["passes over the data"] == pytest.approx(8.3333, abs=1e-4)
    assert found.evidence["tokens drawn"] == 500_000
    assert "Muennighoff" in found.threshold


def test_four_passes_are_no_finding(tmp_path):
    tokens = {"train_tokens": 125_000, "tokens_seen": 500_000}
    assert data.repeats(read(tmp_path, written.healthy(), data=tokens)) == []


def test_fine_tunings_repeat_by_design(tmp_path):
    run = read(tmp_path, written.healthy(), kind="finetuning")
    with pytest.raises(finding.NotCheckedError, match="by design"):
        data.repeats(run)


@pytest.mark.parametrize(("rise", "found"), [(0.06, [600]), (0.04, [])])
def test_a_validation_loss_that_rises(tmp_path, rise, found):
    low = written.loss(600) + 0.01
    records = written.changed(
        written.healthy(),
        600,
        validation__loss=lambda step: low + rise * (step - 600) / 400,
        train__loss=lambda step: written.loss(600) - (step - 600) / 4000,
    )
    findings = data.validation_rise(read(tmp_path, records))
    assert [each.step for each in findings] == found


def test_both_losses_rise_in_a_run_that_diverges(tmp_path):
    up = {name: lambda step: step / 100 for name in ("train__loss", "validation__loss")}
    records = written.changed(written.healthy(), 600, **up)
    assert data.validation_rise(read(tmp_path, records)) == []


@pytest.mark.parametrize(("above", "found"), [(0.6, [300]), (0.4, [])])
def test_a_gap(tmp_path, above, found):
    records = written.changed(
        written.healthy(), 300, validation__loss=lambda step: written.loss(step) + above
    )
    assert [each.step for each in data.gap(read(tmp_path, records))] == found


def test_a_gap_of_a_record_without_a_log(tmp_path):
    metrics = {"step": 1000, "train/loss": 3.0, "validation/loss": 3.9}
    (found,) = data.gap(read(tmp_path, None, metrics=metrics))
    assert (found.step, found.evidence["last validation/loss"]) == (1000, 3.9)
    with pytest.raises(finding.NotCheckedError, match="no metrics.jsonl"):
        data.validation_rise(read(tmp_path / "other", None))


@pytest.mark.parametrize(("wait", "found"), [(21.0, 1), (19.0, 0)])
def test_waiting_for_input(tmp_path, wait, found):
    """Of 81 s, 21 are 26 %; of 79 s, 19 are 24 %."""
    wall = {"input_wait": wait, "step": 60.0}
    run = read(tmp_path, written.healthy(), wall_seconds=wall)
    assert len(data.waiting(run)) == found


def test_a_run_too_short_to_say_whether_it_waits(tmp_path):
    wall = {"input_wait": 3.0, "step": 6.0}
    run = read(tmp_path, written.healthy(), wall_seconds=wall)
    with pytest.raises(finding.NotCheckedError, match=r"9\.0 s of steps"):
        data.waiting(run)
