"""Records, their status and ratios, from stored dumps; children that fail."""

import dataclasses
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import pytest

from clinometer.kernels import dispatch
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import roofline
from clinometer.kernels.tpu_cost import case as case_lib
from clinometer.kernels.tpu_cost import compiler as compiler_lib
from clinometer.kernels.tpu_cost import dumps
from clinometer.kernels.tpu_cost import page
from clinometer.kernels.tpu_cost import report
from clinometer.tests.kernels.tpu_cost import failing
from clinometer.tests.kernels.tpu_cost import stored

V5E = chips.CHIPS["v5e"]
VALUES = {"hbm_temp_bytes": 64, "cores": 1}
ALONE = 7  # cycles more of a call by itself
KERNELS = 2580 + 118 + 2 * ALONE
CYCLES = KERNELS + 1219 + 5 * 137 + 5 * 98 + 2 * 996 + 35


def least(chip, x, **settings):
    return roofline.Roofline(vpu=1000.0, hbm=2000.0)


def run(x, **settings):
    return (x + 1,)


KERNEL = dispatch.Kernel(
    "scale",
    "forward",
    lambda x, **settings: (jax.ShapeDtypeStruct(x.shape, x.dtype),),
    lambda x, **settings: 0,
    {
        "reference": dispatch.Implementation(run),
        "tpu": dispatch.Implementation(run),
    },
)
OPERAND = case_lib.Operand((2, 4, 8, 16), None, (2, 4, 128))
CASE = case_lib.Case(
    *("scale", "forward", "b2", KERNEL, (OPERAND,), {}, f"{__name__}:least"),
    forms={"other": case_lib.Form(lambda x: x * 2, (OPERAND,))},
)


class Kept(compiler_lib.Outcome):
    """What is not to be removed."""

    def discard(self):
        pass


class Stored:
    """A compiler that has the stored dumps for one implementation."""

    def __init__(self, tmp_path, simulates=True):
        self.empty = tmp_path
        self.simulates = simulates

    def alone(self, kernel):
        """A folder of what the simulator says of one call, under another name."""
        cycles = dumps.simulated(stored.SIMULATION)[kernel] + ALONE
        folder = self.empty / kernel
        folder.mkdir(exist_ok=True)
        text = f'hlo_op_name: "bind.1"\n  estimated_cycles: {cycles}\n'
        (folder / "alone.textproto").write_text(text)
        return folder

    def run(self, jobs, mode):
        for job in jobs:
            folder, values, reason, lost = self.empty, VALUES, None, False
            if job.implementation == "tpu" and mode != "compile":
                folder = stored.BUNDLES
                if mode == "simulate":
                    folder = stored.SIMULATION if self.simulates else self.empty
                if job.kernel and self.simulates:
                    folder = self.alone(job.kernel)
            elif job.implementation == "reference":
                values, reason = {}, "VMEM is full"
            elif job.implementation == "other":
                lost = mode == "bundles"
                values, reason = ({}, "not done") if lost else (VALUES, None)
            yield Kept(job, reason, folder, values, lost)


def measure(compiler, chip=V5E):
    names = CASE.implementations()
    assert names == ["tpu", "reference", "other"]
    records = report.measure(compiler, CASE, chip, chip.topology, "bfloat16", names)
    return {record["implementation"]: record for record in records}


def test_every_record_has_its_status(tmp_path):
    found = measure(Stored(tmp_path))
    assert {name: r["status"] for name, r in found.items()} == {
        "tpu": "simulated",
        "reference": "failed",
        "other": "compile only",
    }
    ours = found["tpu"]
    assert ours["sim_cycles"] == ours["cycles"] == CYCLES
    # The calls count as they are by themselves, what is around them as it is beside.
    assert ours["kernel_cycles"] == KERNELS
    assert ours["around_cycles"] == CYCLES - KERNELS
    assert ours["vmem_bytes"] == 393216 and ours["hbm_temp_bytes"] == 64
    assert (ours["op"], ours["pass"], ours["shape"]) == CASE.key[:1] + CASE.key[1:]
    assert ours["dtype"] == "bfloat16" and ours["topology"] == "v5e:2x2"
    assert ours["auto"] == "tpu"
    refused, unread = found["reference"], found["other"]
    assert not refused["compiled"] and refused["reason"] == "VMEM is full"
    assert refused["cycles"] is None and refused["ratio_to_best_xla"] is None
    assert unread["compiled"] and unread["reason"] == "no schedule: not done"


def test_what_the_kernel_refuses_is_not_compiled(tmp_path):
    implementations = {
        "reference": dispatch.Implementation(run),
        "tpu": dispatch.Implementation(run, lambda kind, x, **settings: "too small"),
    }
    kernel = dataclasses.replace(KERNEL, implementations=implementations)
    case = dataclasses.replace(CASE, kernel=kernel)
    names = ["tpu", "other"]
    records = report.measure(Stored(tmp_path), case, V5E, "v5e:2x2", "float32", names)
    ours, other = records
    assert (ours["refused"], ours["reason"]) == (True, "too small")
    assert ours["status"] == "failed" and not ours["compiled"]
    assert ours["auto"] == "reference" and not other["refused"]
    shown = "\n".join(report.table(records))
    assert "left to XLA" in shown and "too small" in shown


def test_rooflines_are_of_one_core(tmp_path):
    ours = measure(Stored(tmp_path))["tpu"]
    assert ours["roofline_cycles"] == 2000 and ours["binds"] == "hbm"
    assert ours["fraction_of_roofline"] == pytest.approx(2000 / CYCLES)
    VALUES["cores"] = 2
    try:
        halved = measure(Stored(tmp_path))["tpu"]
    finally:
        VALUES["cores"] = 1
    assert halved["roofline_cycles"] == 1000
    assert halved["roofline"]["vpu"] == 500


def test_more_than_all_of_a_roofline_is_not_told(tmp_path, monkeypatch):
    """Operands lay in VMEM before what is counted: the part would be no part."""
    more = roofline.Roofline(hbm=2.0 * CYCLES)
    monkeypatch.setattr(case_lib.Case, "least", lambda *_: more)
    ours = measure(Stored(tmp_path))["tpu"]
    assert ours["roofline_cycles"] == 2 * CYCLES
    assert ours["fraction_of_roofline"] is None


def test_without_simulation_cycles_are_bundles(tmp_path):
    bundles = 303 + 163 + 48 + 5 * 11 + 5 * 72 + 2 * 96 + 36
    for compiler, chip in (
        (Stored(tmp_path, simulates=False), V5E),
        (Stored(tmp_path), chips.CHIPS["v4"]),
    ):
        ours = measure(compiler, chip)["tpu"]
        assert ours["status"] == "bundles only"
        assert ours["cycles"] == ours["bundles"] == bundles
        assert ours["sim_cycles"] is None and ours["simulated_part"] == 0


def test_tables_and_pages_show_what_is_there(tmp_path):
    records = list(measure(Stored(tmp_path)).values())
    text = "\n".join(report.table(records))
    for shown in (f"{CYCLES:,}", "VMEM is full", "beside the kernel: copy, 1,992"):
        assert shown in text
    versions = {"libtpu_version": "1.2", "jax_version": "3.4"}
    drawn = page.draw([record | versions for record in records])
    assert "libtpu 1.2" in drawn and "VMEM is full" in drawn
    assert f"{CYCLES:,} (" in drawn
    svg = drawn[drawn.index("<svg") : drawn.index("</svg>") + 6]
    ElementTree.fromstring(svg)


def test_programs_take_and_give_what_is_stored():
    function, shapes = case_lib.program(CASE, "reference", "bfloat16")
    assert [(x.shape, x.dtype) for x in shapes] == [((2, 4, 128), jnp.bfloat16)]
    (result,) = jax.eval_shape(function, *shapes)
    assert result.shape == (2, 4, 128)
    function, shapes = case_lib.program(CASE, "other", "float32")
    assert jax.eval_shape(function, *shapes)[0].dtype == jnp.float32
    assert case_lib.find([CASE], CASE.key) is CASE
    with pytest.raises(KeyError, match="no case is x y z"):
        case_lib.find([CASE], ("x", "y", "z"))


def job(name):
    return compiler_lib.Job((name, "forward", ""), "reference", "float32", "v5e:2x2")


def test_a_child_that_dies_is_a_reason_and_the_next_job_runs():
    table = f"{failing.__name__}:dies"
    with compiler_lib.Compiler(table, 100) as compiler:
        found = list(compiler.run([job("a"), job("b")], "compile"))
    assert len(found) == 2
    for outcome in found:
        assert outcome.lost and not outcome.values
        said = "the compiler's process ended with -6: Check failed: of a test"
        assert outcome.reason == said


def test_what_cannot_be_compiled_is_a_reason():
    table = f"{failing.__name__}:nothing"
    with compiler_lib.Compiler(table, 100) as compiler:
        (outcome,) = compiler.run([job("a")], "compile")
    assert not outcome.lost and not outcome.values
    assert outcome.reason.startswith(("KeyError: 'no case is a", "RuntimeError", "Jax"))


def test_a_child_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(compiler_lib, "START_SECONDS", 3.0)
    table = f"{failing.__name__}:hangs"
    with compiler_lib.Compiler(table, 1) as compiler:
        (outcome,) = compiler.run([job("a")], "compile")
    assert outcome.lost and "seconds" in outcome.reason


def test_nothing_starts_after_a_stop():
    with compiler_lib.Compiler("none:none", 1) as compiler:
        compiler.stop()
        with pytest.raises(compiler_lib.StoppedError):
            next(compiler.run([job("a")], "compile"))
