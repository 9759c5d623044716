"""Makes the records of `clinometer tpu-cost`, one for each jitted program.

The `status` of a record says where its `cycles` come from:

    simulated         the compiler's simulator ran every instruction
    partly simulated  the simulator ran only some; for the others, cycles are bundles,
                      with loops times their trip counts, which leave out stalls
    bundles only      the simulator ran none
    compile only      the program compiled, but no schedule was found
    not finished      the time limit was exceeded; there are no cycles, since they would
                      depend on the machine
    failed            the program did not compile, for the given `reason`
    left to XLA       the program was not compiled, for the reason given by the kernel

If the simulator ends before it has run a Pallas call, the call is simulated by itself,
and the result counts if the code is the same. The simulator's copies are faster than
the chip's HBM. Therefore the cycles of an instruction are at least what HBM needs for
the bytes that it moves. The same holds for a program and all the bytes that it moves,
including operands that the previous program has begun to fetch.
"""

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any

from clinometer.kernels import dispatch
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import roofline as roofline_lib
from clinometer.tools.plan import compiler as compiler_lib
from clinometer.tools.plan import dumps
from clinometer.tools.plan.tpu_cost import case as case_lib

SIMULATED, PARTLY, BUNDLES, COMPILED, LATE, FAILED, REFUSED = STATUSES = (
    "simulated",
    "partly simulated",
    "bundles only",
    "compile only",
    "not finished",
    "failed",
    "left to XLA",
)
# The simulator has no model of these chips' memory.
_NOT_SIMULATED = ("v2", "v3", "v4")
# Simulating larger XLA programs takes many minutes and ten gigabytes.
_MOST_SIMULATED = 100_000

# Fields of a record that are None if unknown.
_NUMBERS = (
    *("cores", "hbm_temp_bytes", "hbm_argument_bytes", "hbm_output_bytes"),
    *("code_bytes", "cycles", "sim_cycles", "hbm_cycles", "kernel_cycles"),
    *("around_cycles", "simulated_part", "bundles", "static_bundles", "unknown_loops"),
    *("vmem_bytes", "spills", "fills", "slot_use", "reason", "simulator_reason"),
)

Record = dict[str, Any]


def measure(
    compiler: compiler_lib.Compiler,
    case: case_lib.CostCase | case_lib.TrainStepCase,
    chip: chips.Chip,
    topology: str,
    dtype: str,
    implementations: Sequence[str],
) -> list[Record]:
    """Compiles implementations of a case for a topology.

    Args:
        compiler: the compiler.
        case: a case of the compiler's table.
        chip: the chip of the topology.
        topology: the compiler's name of the topology.
        dtype: dtype of operands that don't have their own.
        implementations: some of `case.implementations()` and of the names in
            `case.peers`.

    Returns:
        A record of each implementation.
    """
    jobs = [
        compiler_lib.Compilation(case.key, name, dtype, topology)
        for name in implementations
    ]
    refused = case.refusal(chip, dtype) if case_lib.OURS in implementations else None
    records = [
        _record(case, chip, job, {"status": REFUSED, "reason": refused})
        for job in jobs
        if refused and job.implementation == case_lib.OURS
    ]
    for compiled in list(compiler.run(jobs[len(records) :], "bundles")):
        found = _compiled(compiler, chip, compiled)
        records.append(_record(case, chip, compiled.job, found))
        compiled.discard()
    return with_ratios(records)


def _compiled(
    compiler: compiler_lib.Compiler, chip: chips.Chip, compiled: compiler_lib.Outcome
) -> Record:
    """Returns the part of a record that follows from the compiler's outcome."""
    if compiled.late:
        return {"status": LATE, "reason": compiled.reason}
    if compiled.lost:
        # Writing the dumps may have caused it, so try again without them.
        (again,) = compiler.run([compiled.job], "compile")
        again.discard()
        if not again.values:
            status = LATE if again.late else FAILED
            return {"status": status, "reason": again.reason}
        reason = f"no schedule: {compiled.reason}"
        return {"status": COMPILED, "reason": reason, "compiled": True, **again.values}
    if not compiled.values:
        return {"status": FAILED, "reason": compiled.reason}
    known = {"compiled": True, "reason": None, **compiled.values}
    try:
        lines = dumps.read(compiled.folder, {})
        cycles, reason, late = _simulated(compiler, chip, compiled.job, lines)
        lines = dumps.read(compiled.folder, cycles)
        hbm = dumps.hbm_bytes(compiled.folder)
    except ValueError as error:
        reason = f"the compiler's dumps cannot be parsed: {error}"
        return known | {"status": COMPILED, "reason": reason}
    costs = _costs(lines, chip, hbm) if lines else {"status": COMPILED}
    if late:
        names = ("cycles", "sim_cycles", "kernel_cycles", "around_cycles")
        costs |= {"status": LATE, "instructions": [], **dict.fromkeys(names)}
    return known | costs | {"simulator_reason": reason}


def _simulated(
    compiler: compiler_lib.Compiler,
    chip: chips.Chip,
    job: compiler_lib.Compilation,
    lines: Sequence[dumps.ProgramLine],
) -> tuple[dict[str, int], str | None, bool]:
    """Returns simulated cycles by instruction.

    Returns:
        A tuple of: instruction -> cycles; the reason if some are missing; and whether
        the reason is the time limit.
    """
    if chip.name in _NOT_SIMULATED:
        return {}, f"the simulator has no model of {chip.name}'s memory", False
    own = sum(x.cost.bundles * x.times for x in lines if x.kind != "pallas")
    if own > _MOST_SIMULATED:
        reason = f"XLA's instructions have more than {_MOST_SIMULATED:,} bundles"
        return {}, reason, False
    (outcome,) = compiler.run([job], "simulate")
    cycles = dumps.simulated(outcome.folder)
    outcome.discard()
    late = outcome.late
    # The simulator may end at another instruction before it reaches a Pallas call.
    missed = [x for x in lines if x.kind == "pallas" and x.name not in cycles]
    alone = [dataclasses.replace(job, kernel=x.name) for x in missed if not late]
    for line, found in zip(missed, compiler.run(alone, "simulate")):
        late = late or found.late
        if (once := _alone(line, found.folder)) is not None:
            cycles[line.name] = once
        found.discard()
    return {} if late else cycles, outcome.reason, late


def _alone(line: dumps.ProgramLine, folder: pathlib.Path | None) -> int | None:
    """Returns the cycles of a call simulated by itself, if its code is equivalent.

    Only copies may differ, since its operands are in HBM rather than in VMEM.
    """
    try:
        found = dumps.read(folder, dumps.simulated(folder)) if folder else []
    except ValueError:
        return None
    calls = [x.cost for x in found if x.kind == "pallas"]
    same = [x for x in calls if _arithmetic(x) == _arithmetic(line.cost)]
    return same[0].sim_cycles if len(calls) == len(same) == 1 else None


def _arithmetic(cost: dumps.InstructionCost) -> tuple[int, ...]:
    units = ("matmul", "matpush", "vpop", "eup")  # Not those used by copies.
    return (*(cost.slots[name] for name in units), cost.spills, cost.fills)


def _record(
    case: case_lib.CostCase | case_lib.TrainStepCase,
    chip: chips.Chip,
    job: compiler_lib.Compilation,
    found: Record,
) -> Record:
    record: Record = {
        "op": case.op,
        "pass": case.pass_name,
        "implementation": job.implementation,
        "shape": case.label,
        "dtype": str(case.shapes(job.dtype)[0].dtype),
        "topology": job.topology,
        "chip": chip.name,
        "auto": _auto(case, chip, job.dtype),
        "lacks": peer.lacks if (peer := case.peers.get(job.implementation)) else None,
        "compiled": False,
        "instructions": [],
        **dict.fromkeys(_NUMBERS),
        **found,
    }
    return record | _against_roofline(case, chip, job.dtype, record)


def _auto(
    case: case_lib.CostCase | case_lib.TrainStepCase, chip: chips.Chip, dtype: str
) -> str | None:
    try:
        return case.auto(chip, dtype)
    except dispatch.NotSupportedError:
        return None


def _costs(
    lines: Sequence[dumps.ProgramLine], chip: chips.Chip, hbm_bytes: int
) -> Record:
    """Returns the totals over a program's instructions, and their list."""
    instructions = [_instruction(line, chip) for line in lines]

    def total(name: str, *kinds: str) -> int:
        return sum(x[name] for x in instructions if not kinds or x["kind"] in kinds)

    once_each = total("cycles")
    hbm_cycles = round(roofline_lib.hbm_cycles(chip, hbm_bytes))
    complete = all(x["status"] == SIMULATED for x in instructions)
    known = sum(x["cycles"] for x in instructions if x["status"] == SIMULATED)
    incomplete = PARTLY if known else BUNDLES
    ours = total("cycles", "pallas")  # 0 if the program has no Pallas call.
    return {
        "status": SIMULATED if complete else incomplete,
        "cycles": max(once_each, hbm_cycles),
        "sim_cycles": total("sim_cycles") if complete else None,
        "hbm_cycles": hbm_cycles,
        "kernel_cycles": ours or None,
        "around_cycles": once_each - ours if ours else None,
        "simulated_part": known / once_each,
        "bundles": total("bundles"),
        "static_bundles": total("static_bundles"),
        "unknown_loops": total("unknown_loops"),
        "vmem_bytes": max(x["vmem_bytes"] for x in instructions),
        "spills": total("spills"),
        "fills": total("fills"),
        "slot_use": _slot_use(lines),
        "instructions": instructions,
    }


def _instruction(line: dumps.ProgramLine, chip: chips.Chip) -> Record:
    cost = line.cost
    simulated = cost.sim_cycles is not None
    once = cost.sim_cycles if simulated else cost.bundles
    hbm_cycles = round(roofline_lib.hbm_cycles(chip, line.hbm_bytes))
    return {
        "name": line.name,
        "kind": line.kind,
        "times": line.times,
        "status": SIMULATED if simulated else BUNDLES,
        "cycles": max(once, hbm_cycles) * line.times,
        "sim_cycles": cost.sim_cycles * line.times if simulated else None,
        "hbm_cycles": hbm_cycles * line.times,
        "bundles": cost.bundles * line.times,
        "static_bundles": cost.static_bundles,
        "unknown_loops": cost.unknown_loops,
        "vmem_bytes": cost.vmem_bytes,
        "spills": cost.spills,
        "fills": cost.fills,
    }


def _slot_use(lines: Sequence[dumps.ProgramLine]) -> dict[str, float]:
    """Returns the utilization of each kind of slot over all issued bundles."""
    use = {}
    for slot in dumps.SLOTS:
        filled = sum(x.cost.slots[slot] * x.times for x in lines)
        there = sum(x.cost.capacity[slot] * x.cost.bundles * x.times for x in lines)
        use[slot] = round(filled / there, 4) if there else 0.0
    return use


def _against_roofline(
    case: case_lib.CostCase | case_lib.TrainStepCase,
    chip: chips.Chip,
    dtype: str,
    record: Record,
) -> Record:
    names = ("roofline_cycles", "roofline", "binds", "fraction_of_roofline")
    least = case.least(chip, dtype)
    if least is None or not record["compiled"]:  # The number of cores is unknown too.
        return dict.fromkeys(names)
    # A device with several cores divides the work; cycles are for one core.
    cores = record["cores"] or 1
    units = {name: x / cores for name, x in dataclasses.asdict(least).items()}
    fraction = least.cycles / cores / record["cycles"] if record["cycles"] else None
    return dict(zip(names, (least.cycles / cores, units, least.binds, fraction)))


def with_ratios(records: Sequence[Record]) -> list[Record]:
    """Returns the records with the best jnp implementation and the ratio to it.

    Args:
        records: all records of a case for a topology.

    Returns:
        The records with the fields `best_xla`, the jnp implementation with the fewest
        cycles, and `ratio_to_best_xla`, its cycles divided by those of the record.
        Kernels by others also have `ratio_to_ours`, their cycles divided by those of
        our kernel.
    """
    ours = next((r for r in records if r["implementation"] == case_lib.OURS), None)
    theirs = [
        r
        for r in records
        if r["implementation"] != case_lib.OURS and r["lacks"] is None
    ]
    known = [r for r in theirs if r["cycles"]]
    # The best of those that finished in time would depend on the machine.
    late = any(r["status"] == LATE for r in theirs)
    best = None if late else min(known, key=lambda r: r["cycles"], default=None)
    return [
        record
        | {
            "best_xla": best and best["implementation"],
            "ratio_to_best_xla": best["cycles"] / record["cycles"]
            if best and record["cycles"]
            else None,
            "ratio_to_ours": record["cycles"] / ours["cycles"]
            if record["lacks"] is not None
            and record["cycles"]
            and ours
            and ours["cycles"]
            else None,
        }
        for record in records
    ]
