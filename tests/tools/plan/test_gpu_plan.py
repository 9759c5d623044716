"""Tests the plan of a run on GPUs from compiled steps that are made by hand."""

import dataclasses
import json

import pytest

from clinometer.models.counting import counts
from clinometer.tests.tools.plan import compiled
from clinometer.tools.plan import gpu_plan
from clinometer.tools.plan import gpus
from clinometer.tools.plan import prices as prices_lib
from clinometer.tools.plan import table

H100 = gpus.GPUS["h100"]
REQUEST = dataclasses.replace(compiled.REQUEST, topology="h100:2", platform="cuda")
FACTS = {
    **compiled.FACTS,
    "device_kind": H100.device_kind,
    **{"devices": 2, "chips": 2},
    "mesh": {"data": 2, "fsdp": 1, "expert": 1, "model": 1},
}
CACHED = 2 * 50 * 2**20  # What the L2 cache may spare a kernel, reading and writing.

# Twelve times a product of 1 GiB with a quarter of it, and beside it a scatter of 1 KiB
# into 1 GiB, and a fusion that the cache may serve wholly.
PROGRAM = """\
HloModule jit_step, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%into (p: f32[262144,1024], i: s32[4,1], u: f32[4,64]) -> f32[262144,1024] {
  %p = f32[262144,1024]{1,0} parameter(0)
  %i = s32[4,1]{1,0} parameter(1)
  %u = f32[4,64]{1,0} parameter(2)
  ROOT %put = f32[262144,1024]{1,0} scatter(%p, %i, %u), update_window_dims={1}, \
to_apply=%add
}

%double (q: f32[1024,1024]) -> f32[1024,1024] {
  %q = f32[1024,1024]{1,0} parameter(0)
  ROOT %twice = f32[1024,1024]{1,0} add(%q, %q)
}

%body (state: (s32[], f32[262144,1024])) -> (s32[], f32[262144,1024]) {
  %state = (s32[], f32[262144,1024]{1,0}) parameter(0)
  %count = s32[] get-tuple-element(%state), index=0
  %value = f32[262144,1024]{1,0} get-tuple-element(%state), index=1
  %weight = f32[1024,65536]{1,0} constant({...})
  %product = (f32[262144,1024]{1,0}, s8[33554432]{0}) custom-call(%value, %weight), \
custom_call_target="__cublas$lt$matmul"
  %result = f32[262144,1024]{1,0} get-tuple-element(%product), index=0
  ROOT %next = (s32[], f32[262144,1024]{1,0}) tuple(%count, %result)
}

%condition (state.1: (s32[], f32[262144,1024])) -> pred[] {
  %state.1 = (s32[], f32[262144,1024]{1,0}) parameter(0)
  %index = s32[] get-tuple-element(%state.1), index=0
  %bound = s32[] constant(12)
  ROOT %less = pred[] compare(%index, %bound), direction=LT
}

ENTRY %main (a: (s32[], f32[262144,1024]), i: s32[4,1], u: f32[4,64], \
s: f32[1024,1024]) -> f32[262144,1024] {
  %a = (s32[], f32[262144,1024]{1,0}) parameter(0)
  %i.1 = s32[4,1]{1,0} parameter(1)
  %u.1 = f32[4,64]{1,0} parameter(2)
  %s = f32[1024,1024]{1,0} parameter(3)
  %small = f32[1024,1024]{1,0} fusion(%s), kind=kLoop, calls=%double
  %loop = (s32[], f32[262144,1024]{1,0}) while(%a), condition=%condition, body=%body
  %last = f32[262144,1024]{1,0} get-tuple-element(%loop), index=1
  ROOT %put.1 = f32[262144,1024]{1,0} fusion(%last, %i.1, %u.1), kind=kLoop, calls=%into
}
"""


def made(text=PROGRAM, *, temporary_bytes=2**30, **options):
    step = compiled.step(temporary_bytes=temporary_bytes)
    entry = dataclasses.replace(step.entry, facts=FACTS, text=text)
    step = dataclasses.replace(step, entry=entry)
    return gpu_plan.make(REQUEST, step, H100, steps=1000, **options)


def test_the_bound_is_that_of_the_bytes_or_of_the_flops():
    record = made()
    assert json.loads(json.dumps(record)) == record
    moved = 12 * (2**30 + 2**28 + 2**30 - CACHED)
    flops = counts.count("transformer-pico", trace=False).flops_train_step / 2
    # The data sheet: 3.35 TB/s, and half of 1,979 teraFLOPS, which are with sparsity.
    assert record["work_seconds"]["bytes"] == pytest.approx(moved / 3.35e12)
    assert record["work_seconds"]["flops"] == pytest.approx(flops / 989.5e12, rel=1e-3)
    assert record["step_seconds"] == record["work_seconds"]["bytes"]
    assert record["hours"] == pytest.approx(1000 * record["step_seconds"] / 3600)
    assert record["chip_hours"] == 2 * record["hours"]
    assert record["mfu"] is None and record["step_seconds_range"] is None
    # All bytes of a small program may be in the cache.
    small = made("ENTRY %main () -> f32[] {\n  ROOT %x = f32[] constant(0)\n}\n")
    assert small["work_seconds"]["bytes"] == 0
    assert small["step_seconds"] == small["work_seconds"]["flops"]


def test_a_plan_says_that_memory_is_a_prediction_and_time_a_bound():
    prices = prices_lib.Prices(3.0, 700.0, "USD")
    record = made(prices=prices)
    assert record["memory_method"].startswith("a prediction")
    assert record["method"].startswith("a lower bound")
    assert record["cost"] == pytest.approx(3 * record["chip_hours"])
    lines = list(table.text([record, made(temporary_bytes=2**36, prices=prices)]))
    assert max(map(len, lines)) <= 80
    text = " ".join("\n".join(lines).split())
    assert text.startswith("h100:2: NVIDIA H100 80GB HBM3; JAX takes 55.9 GiB; batch")
    for said in (
        "model GiB >=ms >=hours >=GPU-hours >=cost USD >=kWh",
        "Memory: a prediction",
        "Time: a lower bound",
        "by flops",
    ):
        assert said in text
    assert "MFU" not in text


def test_a_step_must_fit_in_what_jax_takes():
    record = made(temporary_bytes=6 * 10**10)
    assert not record["fits"] and record["step_seconds"] is None
    assert record["reason"].endswith("bytes of a device's 60,000,000,000 bytes")
    assert made(temporary_bytes=59 * 10**9)["fits"]
