"""Tests the cost of Pallas calls with stored dumps, which `test_dumps.py` describes."""

import pytest

from clinometer.kernels.tpu import chips
from clinometer.tests.tools.plan import programs
from clinometer.tests.tools.plan import stored
from clinometer.tools.plan import kernel_cost
from clinometer.tools.plan.kernel_cost import KernelCost

V5E = chips.CHIPS["v5e"]


def test_calls_have_their_bundles_and_bytes():
    (program,) = stored.BUNDLES.glob("*-TLP-hlo.txt")
    found = kernel_cost.read(program.read_text(), stored.BUNDLES)
    # One reads [256, 128] of float32 from HBM, the other only VMEM.
    assert found == {
        "scale.2": KernelCost(303, 256 * 128 * 4),
        "scale.3": KernelCost(163, 0),
    }


def test_a_program_without_calls_reads_no_dumps(tmp_path):
    assert kernel_cost.read(programs.LOOP, tmp_path / "nowhere") == {}


def test_cycles_are_at_least_what_hbm_needs():
    assert KernelCost(163, 0).cycles(V5E) == 163
    # 820 GB/s at 1.503 GHz are 545.6 bytes a cycle.
    assert KernelCost(163, 5_456_000).cycles(V5E) == pytest.approx(10_000, rel=1e-3)


def test_calls_count_as_often_as_they_run():
    costs = {"a": KernelCost(100, 0), "b": KernelCost(7, 0)}
    assert kernel_cost.total_cycles({"a": 12, "unknown": 5}, costs, V5E) == 1200
    assert kernel_cost.total_cycles({"a": 12, "b": 3}, costs, V5E) == 1221
