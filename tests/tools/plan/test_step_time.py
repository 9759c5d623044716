"""Tests the time of a step."""

import pytest

from clinometer.kernels.tpu import chips
from clinometer.tests.tools.plan import programs
from clinometer.tools.plan import kernel_cost
from clinometer.tools.plan import step_cost
from clinometer.tools.plan import step_time
from clinometer.tools.plan.step_time import Work

FORM = step_time.Form("a rule", {"cycles": 0.5, "wire": 2.0}, constant=0.25)


def test_the_work_of_a_step_in_seconds():
    cost = step_cost.read(programs.LOOP)
    work = step_time.work(cost, {}, chips.CHIPS["v3"], flops=123e12, cores=1)
    assert work.cycles == pytest.approx((12 * 1070 + 30) / 0.94e9)
    # A core has half of the four links of 82 GB/s, and half of the peak.
    assert work.wire == pytest.approx(12 * 64 * 1.75 / 164e9)
    assert work.flops == pytest.approx(2.0)
    assert work.pallas == 0


def test_a_device_of_two_cores_has_all_links_and_the_whole_peak():
    cost = step_cost.read(programs.LOOP)
    work = step_time.work(cost, {}, chips.CHIPS["v4"], flops=275e12, cores=2)
    assert work.wire == pytest.approx(12 * 64 * 1.75 / 300e9)
    assert work.flops == pytest.approx(1.0)


def test_pallas_calls_are_part_of_the_work():
    cost = step_cost.StepCost(0, 0, {}, {"kernel": 3}, 0)
    kernels = {"kernel": kernel_cost.KernelCost(1_000_000, 0)}
    v5e = chips.CHIPS["v5e"]
    work = step_time.work(cost, kernels, v5e, flops=0, cores=1)
    assert work.pallas == pytest.approx(3_000_000 / v5e.clock_hz)


def test_seconds_are_the_sum_of_the_parts():
    work = Work(cycles=4, wire=1, flops=0.5)
    assert FORM.parts(work) == {"cycles": 2, "wire": 2, "constant": 0.25}
    assert FORM.seconds(work) == 4.25


def test_pallas_calls_are_not_weighted():
    work = Work(cycles=4, wire=1, flops=0.5, pallas=3)
    assert FORM.parts(work)["pallas"] == 3
    assert FORM.seconds(work) == 7.25


def test_a_rule_without_cycles_has_no_calls():
    """FLOPs are those of all products, also of the ones in Pallas calls."""
    form = step_time.Form("another rule", {"flops": 3.0})
    assert form.parts(Work(cycles=4, wire=1, flops=0.5, pallas=3)) == {"flops": 1.5}


def test_no_step_is_faster_than_its_flops_at_the_peak():
    assert FORM.seconds(Work(cycles=4, wire=1, flops=9)) == 9
