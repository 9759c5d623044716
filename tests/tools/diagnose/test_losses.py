"""Tests of the checks of the loss, on written logs."""

import math

import pytest

from clinometer.tests.tools.diagnose import written
from clinometer.tools.diagnose import finding
from clinometer.tools.diagnose import losses
from clinometer.tools.diagnose import telemetry

ALL = (losses.not_finite, losses.spikes, losses.rise, losses.learning)


def read(tmp_path, records, **fields):
    return telemetry.read(written.write(tmp_path / "run", records, **fields))


def test_a_falling_loss_is_healthy(tmp_path):
    run = read(tmp_path, written.healthy())
    assert [check(run) for check in ALL] == [[], [], [], []]


@pytest.mark.parametrize(
    ("later", "recovered", "says"),
    [
        (lambda step: written.loss(step), True, "it had come back at step 560"),
        # Half of the rise is left, where a quarter may be.
        (lambda step: written.loss(step) + 1.0, False, "it did not come back"),
    ],
)
def test_a_spike(tmp_path, later, recovered, says):
    records = written.changed(written.healthy(), 500, train__loss=later)
    peak = {"train/loss": 6.5, "train/loss_spike": True}
    jumped = [r | peak if r["step"] in (500, 520, 540) else r for r in records]
    (found,) = losses.spikes(read(tmp_path, jumped))
    assert (found.step, found.evidence["recovered"]) == (500, recovered)
    assert found.evidence["highest loss"] == 6.5
    # The level before is the median of the losses at 440, 460 and 480.
    before = sorted(map(written.loss, (440, 460, 480)))[1]
    assert found.evidence["loss before"] == pytest.approx(before)
    assert says in found.what
    assert "8.0 scatters" in found.threshold


def test_a_spike_at_the_end_is_open(tmp_path):
    peak = {"train/loss": 6.5, "train/loss_spike": True}
    records = [r | peak if r["step"] == 600 else r for r in written.healthy(600)]
    (found,) = losses.spikes(read(tmp_path, records, status="stopped"))
    assert "the log ends before it could come back" in found.what


def test_a_short_log_says_nothing_of_spikes(tmp_path):
    with pytest.raises(finding.NotCheckedError, match="11 records have train/loss"):
        losses.spikes(read(tmp_path, written.healthy(220)))


@pytest.mark.parametrize(("rate", "found"), [(0.002, True), (0.0005, False)])
def test_a_loss_that_creeps_up(tmp_path, rate, found):
    """From step 400 on it rises by `rate` a step: by 1.2 or 0.3 nats less what fell."""
    low = written.loss(400)
    records = written.changed(
        written.healthy(), 400, train__loss=lambda step: low + rate * (step - 400)
    )
    findings = losses.rise(read(tmp_path, records))
    assert bool(findings) == found
    for each in findings:
        assert 380 <= each.step <= 460
        assert each.evidence["last loss"] == pytest.approx(low + rate * 580)


def test_a_noisy_loss_does_not_rise(tmp_path):
    """Losses between 4.5 and 5.5 by chance, whose last levels are high."""
    records = written.healthy(960)
    for r in records:
        r["train/loss"] = 5 + 25 * (r["train/loss"] - 4 - 3 * 0.99 ** r["step"])
    values = [r["train/loss"] for r in records]
    levels = [sorted(values[i : i + 3])[1] for i in range(len(values) - 2)]
    last = levels.index(max(levels))
    assert max(levels) - min(levels[:last]) > 0.5
    assert losses.rise(read(tmp_path, records[: last + 3])) == []


def test_nothing_learned(tmp_path):
    guess = math.log(2048)
    records = written.changed(
        written.healthy(), 300, train__loss=lambda step: guess + 0.1
    )
    (found,) = losses.learning(read(tmp_path, records))
    assert found.step == 300
    assert found.evidence["ln(model.vocab_size)"] == pytest.approx(7.6246, abs=1e-4)


def test_it_is_too_early_to_have_learned(tmp_path):
    records = written.changed(written.healthy(80), 0, train__loss=9.0)
    run = read(tmp_path, records, status="stopped")
    with pytest.raises(finding.NotCheckedError, match="checked from step 100 on"):
        losses.learning(run)


def test_nan_that_ended_a_run(tmp_path):
    error = "DivergedError: step 333: the loss is nan; batch index 332"
    run = read(tmp_path, written.healthy(320), status="failed", error=error)
    (found,) = losses.not_finite(run)
    assert found.step == 333
    assert found.evidence["last train/loss"] == written.loss(320)
    assert found.evidence["schedule.learning_rate"] == 0.03


def test_nan_in_a_log(tmp_path):
    records = written.changed(written.healthy(), 900, validation__loss=math.nan)
    (found,) = losses.not_finite(read(tmp_path, records))
    assert (found.step, found.evidence["field"]) == (900, "validation/loss")
