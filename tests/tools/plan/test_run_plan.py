"""Tests the plan of a run from compiled steps that are made by hand."""

import json

import pytest

from clinometer.kernels.tpu import chips
from clinometer.models.counting import counts
from clinometer.tests.tools.plan import compiled
from clinometer.tools.plan import prices as prices_lib
from clinometer.tools.plan import run_plan
from clinometer.tools.plan import step_time
from clinometer.tools.plan.validation import chosen

V3 = chips.CHIPS["v3"]
STEPS = 1000


def made(step, **options):
    return run_plan.make(compiled.REQUEST, step, V3, steps=STEPS, **options)


def test_a_plan_that_fits():
    record = made(compiled.step())
    assert json.loads(json.dumps(record)) == record
    assert (record["fits"], record["reason"]) == (True, None)
    assert record["memory"]["total_bytes"] == 2**20 + 2**30 + 2**10
    assert record["program"] == "0123456789abcdef" * 2
    flops = counts.count("transformer-pico", trace=False).flops_train_step
    assert record["flops_per_device"] == flops / 8
    assert record["collectives"]["all-reduce"]["payload_bytes"] == 12 * 64
    work = step_time.Work(**record["work_seconds"])
    seconds = chosen.FORM.seconds(work)
    assert record["step_seconds"] == seconds
    assert record["ranking_seconds"] == chosen.RANKING.seconds(work)
    assert record["step_seconds_by_rule"][chosen.FORM.name] == seconds
    low, high = record["step_seconds_range"]
    assert low < seconds < high
    assert record["mfu"] == pytest.approx(flops / 8 / 61.5e12 / seconds)
    assert record["hours"] == pytest.approx(STEPS * seconds / 3600)
    assert record["chip_hours"] == pytest.approx(4 * record["hours"])
    assert (record["cost"], record["kwh"]) == (None, None)


def test_costs_and_energy_follow_from_chip_hours():
    prices = prices_lib.Prices(3.0, 200.0, "USD")
    record = made(compiled.step(), prices=prices)
    assert record["cost"] == pytest.approx(3 * record["chip_hours"])
    assert record["kwh"] == pytest.approx(0.2 * record["chip_hours"])
    assert record["currency"] == "USD"


def test_a_step_that_the_compiler_rejects_has_its_reason_and_no_time():
    record = made(compiled.step(reason="it needs 29.34G of 15.48G"))
    assert (record["fits"], record["reason"]) == (False, "it needs 29.34G of 15.48G")
    assert record["memory"]["total_bytes"] is None
    assert record["flops_per_device"] > 0
    for key in ("step_seconds", "hours", "chip_hours", "mfu", "cost", "collectives"):
        assert record[key] is None


def test_a_program_beyond_the_memory_does_not_fit_either():
    record = made(compiled.step(temporary_bytes=2**34))
    assert not record["fits"]
    needs = "it needs 17,180,918,784 bytes of a device's 17,179,869,184"
    assert record["reason"].startswith(needs)
    assert record["step_seconds"] is None
    assert record["collectives"] is not None


def test_the_error_of_other_chips_is_not_known():
    v5e = chips.CHIPS["v5e"]
    record = run_plan.make(compiled.REQUEST, compiled.step(), v5e, steps=STEPS)
    assert record["step_seconds_range"] is None
    assert "no speed on v5e was compared" in record["method"]
