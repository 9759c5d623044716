"""Tests of records from stored dumps, and of child processes that fail."""

import dataclasses
import pathlib
import shutil
import subprocess
import sys
import time
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import pytest

from clinometer.kernels import declaration
from clinometer.kernels.signature import ResultSpec
from clinometer.kernels.signature import Signature
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import roofline
from clinometer.tests.kernels import child
from clinometer.tests.tools.plan import failing
from clinometer.tests.tools.plan import stored
from clinometer.tools.plan import compiler as compiler_lib
from clinometer.tools.plan.tpu_cost import case as case_lib
from clinometer.tools.plan.tpu_cost import page
from clinometer.tools.plan.tpu_cost import report
from clinometer.tools.plan.tpu_cost import table

V5E = chips.CHIPS["v5e"]
VALUES = {"hbm_temp_bytes": 64, "cores": 1}
KERNELS = 2580 + 118
CYCLES = KERNELS + 1219 + 5 * 137 + 5 * 98 + 2 * 996 + 35


def least(chip, operands, settings):
    return roofline.Roofline(vpu=1000.0, hbm=2000.0)


def run(x):
    return (x + 1,)


KERNEL = declaration.Kernel(
    "scale",
    "forward",
    Signature({"x": "b s h d"}, {"y": ResultSpec("b s h d", "x")}),
    lambda x: 0,
    {
        "reference": declaration.Implementation(run),
        "tpu": declaration.Implementation(run, ("tpu",)),
    },
)
OPERAND = case_lib.Operand((2, 4, 8, 16), None, (2, 4, 128))
CASE = case_lib.CostCase(
    *("scale", "forward", "b2", KERNEL, {"x": OPERAND}, {}, f"{__name__}:least"),
    forms={"other": case_lib.Form(lambda x: x * 2, (OPERAND,))},
)


class Kept(compiler_lib.Outcome):
    """An outcome with stored files, which must not be removed."""

    def discard(self):
        pass


class Stored:
    """A fake compiler with stored dumps for one implementation."""

    def __init__(self, tmp_path, simulation=stored.SIMULATION, late=(), alone=None):
        self.empty = tmp_path
        self.alone = alone or tmp_path  # of a call by itself
        self.simulation = simulation
        self.late = late  # modes that are not done in time

    def run(self, jobs, mode):
        for job in jobs:
            folder, values, reason, lost = self.empty, VALUES, None, False
            if mode in self.late:
                yield Kept(job, "not done", stored.SIMULATION, {}, late=True)
                continue
            if job.implementation == "tpu" and mode != "compile":
                folder = stored.BUNDLES if mode == "bundles" else self.simulation
                folder = self.alone if job.kernel else folder
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
    assert ours["kernel_cycles"] == KERNELS
    assert ours["around_cycles"] == CYCLES - KERNELS
    assert ours["vmem_bytes"] == 393216 and ours["hbm_temp_bytes"] == 64
    assert (ours["op"], ours["pass"], ours["shape"]) == CASE.key
    assert ours["dtype"] == "bfloat16" and ours["topology"] == "v5e:2x2"
    assert ours["auto"] == "tpu"
    refused, unread = found["reference"], found["other"]
    assert not refused["compiled"] and refused["reason"] == "VMEM is full"
    assert refused["cycles"] is None and refused["ratio_to_best_xla"] is None
    assert unread["compiled"] and unread["reason"] == "no schedule: not done"
    assert unread["kernel_cycles"] is unread["around_cycles"] is None


def simulation(folder, **cycles):
    """Writes simulated cycles of instructions in the simulator's format."""
    folder.mkdir()
    lines = [f'hlo_op_name: "{k}"\n  estimated_cycles: {n}' for k, n in cycles.items()]
    (folder / "some.textproto").write_text("\n".join(lines))
    return folder


def test_what_does_not_finish_has_no_cycles(tmp_path):
    """Its output is ignored, since it depends on the speed of the machine."""
    for modes, compiled in ((("simulate",), True), (("bundles",), False)):
        ours = measure(Stored(tmp_path, late=modes))["tpu"]
        assert ours["status"] == "not finished"
        assert ours["compiled"] == compiled
        for name in ("cycles", "sim_cycles", "kernel_cycles", "around_cycles"):
            assert ours[name] is None, name
        assert ours["fraction_of_roofline"] is None
        shown = next(iter(list(table.text([ours]))[2:]))
        assert "not finished" in shown and f"{CYCLES:,}" not in shown


def test_the_best_form_is_not_told_if_one_did_not_finish(tmp_path):
    names = CASE.implementations()

    def best(other):
        records = [
            {
                "implementation": name,
                "cycles": 10 * (place + 1),
                "status": "simulated",
                "lacks": None,
            }
            for place, name in enumerate(names)
        ]
        return report.with_ratios([*records[:2], records[2] | other])[0]

    assert best({})["ratio_to_best_xla"] == 2
    late = best({"status": "not finished", "cycles": None})
    assert late["best_xla"] is late["ratio_to_best_xla"] is None


def test_what_the_simulator_refuses_counts_by_bundles(tmp_path):
    known = simulation(tmp_path / "some", **{"scale.2": 2580})
    ours = measure(Stored(tmp_path, known))["tpu"]
    assert ours["status"] == "partly simulated"
    others = 163 + 48 + 5 * 11 + 5 * 72 + 2 * 240 + 36
    assert ours["cycles"] == 2580 + others and ours["sim_cycles"] is None
    assert ours["simulated_part"] == pytest.approx(2580 / (2580 + others))


def test_a_call_that_was_not_reached_is_simulated_alone(tmp_path):
    """The call is found by its code, and counts only if the code is equal."""
    known = simulation(tmp_path / "some", **{"scale.3": 118, "copy": 996})
    alone = tmp_path / "alone"
    shutil.copytree(stored.BUNDLES, alone)
    said = simulation(tmp_path / "said", **{"scale.2": 2590, "copy": 99_999})
    shutil.copy(said / "some.textproto", alone)
    text = (alone / "8923-TLP-hlo.txt").read_text()
    (alone / "8923-TLP-hlo.txt").write_text(
        "\n".join(x for x in text.splitlines() if "%scale.3 = " not in x)
    )
    ours = measure(Stored(tmp_path, known, alone=alone))["tpu"]
    cycles = {x["name"]: x["cycles"] for x in ours["instructions"]}
    assert cycles["scale.2"] == 2590
    # Other code, for instance for another chip, doesn't count.
    for path in alone.glob("*scale.2*utilization.txt"):
        table_ = path.read_text().splitlines()
        row = next(i for i, x in enumerate(table_) if x.strip().startswith("0 "))
        table_[row] = " ".join(["1", *table_[row].split()[1:]])
        path.write_text("\n".join(table_))
    ours = measure(Stored(tmp_path, known, alone=alone))["tpu"]
    cycles = {x["name"]: x["cycles"] for x in ours["instructions"]}
    assert cycles["scale.2"] == 303  # its bundles


def test_nothing_is_faster_than_hbm(tmp_path):
    """The chip moves 820e9 bytes/s at 1.5 GHz, the simulator twice as many."""
    names = ("scale.2", "scale.3", "reduce_sum.7", "rev.3", "sin.3", "copy")
    fast = dict.fromkeys((*names, "broadcast_add_fusion"), 1)
    ours = measure(Stored(tmp_path, simulation(tmp_path / "fast", **fast)))["tpu"]
    cycles = {x["name"]: x["cycles"] for x in ours["instructions"]}
    # scale.2 reads x from HBM, [256, 128] of float32; each copy writes as much.
    array = 256 * 128 * 4
    by_hbm = round(array / (819e9 / 1.5e9), -1)
    assert cycles["scale.2"] == pytest.approx(by_hbm, rel=0.01)
    assert cycles["copy"] == pytest.approx(2 * by_hbm, rel=0.01)
    assert cycles["scale.3"] == 1  # from VMEM to VMEM
    # The program also fetches x asynchronously, and returns a row.
    everything = (4 * array + 512) / (819e9 / 1.5e9)
    assert ours["hbm_cycles"] == pytest.approx(everything, rel=0.01)
    assert ours["cycles"] == ours["hbm_cycles"] > sum(cycles.values())
    assert ours["status"] == "simulated"


def test_large_programs_of_xla_are_not_simulated(tmp_path, monkeypatch):
    """Only their size decides, not the machine."""
    monkeypatch.setattr(report, "_MOST_SIMULATED", 100)
    ours = measure(Stored(tmp_path, late=("simulate",)))["tpu"]
    assert ours["status"] == "bundles only"
    assert "more than 100 bundles" in ours["simulator_reason"]


def test_what_the_kernel_refuses_is_not_compiled(tmp_path):
    implementations = {
        "reference": declaration.Implementation(run),
        "tpu": declaration.Implementation(run, ("tpu",), lambda kind, x: "too small"),
    }
    kernel = dataclasses.replace(KERNEL, implementations=implementations)
    case = dataclasses.replace(CASE, kernel=kernel)
    names = ["tpu", "other"]
    records = report.measure(Stored(tmp_path), case, V5E, "v5e:2x2", "float32", names)
    ours, other = records
    assert (ours["status"], ours["reason"]) == ("left to XLA", "too small")
    assert ours["auto"] == "reference" and not ours["compiled"]
    assert other["status"] == "compile only"
    shown = "\n".join(table.text(records))
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


def test_without_simulation_cycles_are_bundles(tmp_path):
    others = 303 + 163 + 48 + 5 * 11 + 5 * 72 + 36
    for compiler, chip, copy in (
        (Stored(tmp_path, tmp_path), V5E, 240),  # a copy waits for HBM
        (Stored(tmp_path), chips.CHIPS["v4"], 224),
    ):
        ours = measure(compiler, chip)["tpu"]
        assert ours["status"] == "bundles only"
        assert ours["bundles"] == others + 2 * 96
        assert ours["cycles"] == others + 2 * copy
        assert ours["sim_cycles"] is None and ours["simulated_part"] == 0


def test_tables_and_pages_show_what_is_there(tmp_path):
    records = list(measure(Stored(tmp_path)).values())
    text = "\n".join(table.text(records))
    for shown in (f"{CYCLES:,}", "VMEM is full", "beside the kernel: copy, 1,992"):
        assert shown in text
    heading, _, *rows = table.markdown(records)
    for row, record in zip(rows, records, strict=True):
        cells = dict(zip(heading.split(" | "), row.split(" | "), strict=True))
        assert cells["status"] == record["status"]
        assert cells["program"] == record["implementation"]
        shown = record["cycles"] and f"{record['cycles']:,}"
        assert cells["cycles"] == (shown or "-")
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
    return compiler_lib.Compilation(
        (name, "forward", ""), "reference", "float32", "v5e:2x2"
    )


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
    assert outcome.late and "seconds" in outcome.reason


def test_a_child_that_is_killed_is_no_result():
    """For instance for lack of memory; its output until then depends on the machine."""
    with compiler_lib.Compiler(f"{failing.__name__}:is_killed", 100) as compiler:
        (outcome,) = compiler.run([job("a")], "simulate")
    assert outcome.late and not outcome.lost and "ended with -9" in outcome.reason


def test_a_child_ends_with_whoever_started_it(tmp_path):
    """A killed report leaves no compiler process, which could use gigabytes."""
    code = (
        "import os; from clinometer.tools.plan import compiler as c\n"
        f"with c.Compiler({failing.__name__ + ':tells_its_pid'!r}, 100) as compiler:\n"
        "    key = ('a', 'forward', '')\n"
        "    one = c.Compilation(key, 'reference', 'float32', 'v5e:2x2')\n"
        "    list(compiler.run([one], 'compile'))\n"
    )
    told = tmp_path / "pid"
    environment = child.environ(FAILING_PID=str(told))
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
    _until(told.exists)
    pid = int(told.read_text())
    parent.kill()
    parent.wait()
    _until(lambda: not _is_running(pid))


def _until(true):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_running(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return False
    return state[0] not in "ZX"


def test_nothing_starts_after_a_stop():
    with compiler_lib.Compiler("none:none", 1) as compiler:
        compiler.stop()
        with pytest.raises(compiler_lib.StoppedError):
            next(compiler.run([job("a")], "compile"))
