"""Tests of the checks of gradients and updates, on written logs."""

import pytest

from clinometer.tests.tools.diagnose import written
from clinometer.tools.diagnose import finding
from clinometer.tools.diagnose import telemetry
from clinometer.tools.diagnose import updates


def read(tmp_path, since, **fields):
    records = written.changed(written.healthy(), since, **fields)
    return telemetry.read(written.write(tmp_path / "run", records))


@pytest.mark.parametrize(
    ("ratio", "since", "found"),
    [(0.6, 400, True), (0.4, 400, False), (0.6, 1000, False)],
)
def test_large_updates(tmp_path, ratio, since, found):
    """One measurement, at the last step, is not enough."""
    run = read(tmp_path, since, health__update_ratio__decoder=ratio)
    findings = updates.too_large(run)
    assert [each.step for each in findings] == [400] * found
    assert updates.no_gradient(run) == []


def test_the_only_measurement_of_a_run_that_ended_early(tmp_path):
    records = written.changed(
        written.healthy(180), 100, health__update_ratio__decoder=9.0
    )
    run = telemetry.read(written.write(tmp_path / "run", records, status="failed"))
    (found,) = updates.too_large(run)
    assert (found.step, found.evidence["largest update_ratio"]) == (100, 9.0)


def test_updates_of_a_group_that_is_all_but_zero_are_none(tmp_path):
    small = {"health__update_ratio__decoder": 9.0, "health__parameter_rms__decoder": 0}
    assert updates.too_large(read(tmp_path, 0, **small)) == []


def test_a_group_without_gradient(tmp_path):
    run = read(tmp_path, 700, health__gradient_rms__decoder=0.0)
    (found,) = updates.no_gradient(run)
    assert (found.step, found.what) == (700, "no gradient reaches decoder")


def test_a_gradient_that_came_back_is_none_missing(tmp_path):
    back = {"health__gradient_rms__decoder": lambda step: 0.0 if step < 900 else 1e-3}
    assert updates.no_gradient(read(tmp_path, 0, **back)) == []


def test_a_log_without_health_is_said(tmp_path):
    records = [
        {k: v for k, v in r.items() if "health" not in k} for r in written.healthy()
    ]
    run = telemetry.read(written.write(tmp_path / "run", records))
    with pytest.raises(finding.NotCheckedError, match="config.log.health_every_steps"):
        updates.too_large(run)
