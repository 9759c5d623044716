"""Makes records of what the compiler said, and a table of records.

A record's `status` tells what its `cycles` are worth:

    simulated     the compiler's simulator ran every instruction
    bundles only  it did not run some: those count their bundles, loops times trips,
                  which leaves out what is waited for
    compile only  the program compiled; no schedule was found
    failed        it did not compile, `reason` tells why; or it is `refused`: left to
                  XLA, for the reason that the kernel gives, without compiling
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

from clinometer.kernels import dispatch
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu_cost import case as case_lib
from clinometer.kernels.tpu_cost import compiler as compiler_lib
from clinometer.kernels.tpu_cost import dumps

SIMULATED, BUNDLES, COMPILED, FAILED = STATUSES = (
    "simulated",
    "bundles only",
    "compile only",
    "failed",
)
# The simulator has no model of these chips' memory.
_NOT_SIMULATED = ("v2", "v3", "v4")

Record = dict[str, Any]


def measure(
    compiler: compiler_lib.Compiler,
    case: case_lib.Case,
    chip: chips.Chip,
    topology: str,
    dtype: str,
    implementations: Sequence[str],
) -> list[Record]:
    """Compiles forms of a case for a topology; returns a record of each.

    Args:
        compiler: that runs the children.
        case: of the compiler's table.
        chip: of the topology.
        topology: the compiler's name of it.
        dtype: of operands without their own.
        implementations: of `case.implementations()`.
    """
    jobs = [
        compiler_lib.Job(case.key, name, dtype, topology) for name in implementations
    ]
    refused = _refusal(case, chip, dtype)
    compiled = [
        compiler_lib.Outcome(job, refused, None, {})
        for job in jobs
        if refused and job.implementation == case_lib.OURS
    ]
    jobs = jobs[len(compiled) :]
    compiled += compiler.run(jobs, "bundles")
    # What was lost for want of time, or by what is written, may compile without.
    lost = [x.job for x in compiled if x.lost]
    again = {x.job: x for x in compiler.run(lost, "compile")}
    done = [x.job for x in compiled if x.values]
    simulated = {}
    if chip.name not in _NOT_SIMULATED:
        simulated = {x.job: x for x in compiler.run(done, "simulate")}
    alone = {
        x.job: dict(_alone(compiler, x))
        for x in compiled
        if x.job in simulated and x.job.implementation == case_lib.OURS
    }
    records = [
        _record(
            case,
            chip,
            x,
            again.get(x.job),
            simulated.get(x.job),
            alone.get(x.job, {}),
        )
        for x in compiled
    ]
    for outcome in (*compiled, *again.values(), *simulated.values()):
        outcome.discard()
    return _with_ratios(records)


def _alone(
    compiler: compiler_lib.Compiler, compiled: compiler_lib.Outcome
) -> Iterator[tuple[str, int]]:
    """Yields the simulated cycles of a program's Pallas calls, each by itself.

    Beside other instructions the compiler may lay a call's operands into VMEM before
    it, and the simulator may end before it has written what it found.
    """
    try:
        lines = dumps.read(compiled.folder, {})
    except ValueError:
        return  # `_record` tells why
    names = [line.name for line in lines if line.kind == "pallas"]
    jobs = [dataclasses.replace(compiled.job, kernel=name) for name in names]
    for outcome in compiler.run(jobs, "simulate"):
        # The program is the call, under whatever name, and at most copies of operands.
        if found := dumps.simulated(outcome.folder):
            yield outcome.job.kernel, max(found.values())
        outcome.discard()


def _record(
    case: case_lib.Case,
    chip: chips.Chip,
    bundles: compiler_lib.Outcome,
    again: compiler_lib.Outcome | None,
    simulated: compiler_lib.Outcome | None,
    alone: Mapping[str, int],
) -> Record:
    job = bundles.job
    values = bundles.values or (again.values if again else {})
    reason = bundles.reason
    lines: list[dumps.Line] = []
    if bundles.values:
        try:
            cycles = dumps.simulated(simulated.folder) if simulated else {}
            lines = dumps.read(bundles.folder, cycles | alone)
        except ValueError as error:
            reason = f"the compiler's dumps are not understood: {error}"
    elif again is not None:
        reason = again.reason if not values else f"no schedule: {reason}"
    record: Record = {
        "op": case.op,
        "pass": case.pass_name,
        "implementation": job.implementation,
        "shape": case.label,
        "dtype": str(case.shapes(job.dtype)[0].dtype),
        "topology": job.topology,
        "chip": chip.name,
        "compiled": bool(values),
        "refused": bundles.folder is None,
        "reason": reason,
        "simulator_reason": simulated.reason if simulated else None,
        "auto": _auto(case, chip, job.dtype),
        **{
            name: values.get(name)
            for name in (
                "cores",
                "hbm_temp_bytes",
                "hbm_argument_bytes",
                "hbm_output_bytes",
                "code_bytes",
            )
        },
        **_costs(lines, bool(values)),
    }
    return record | _against_roofline(case, chip, job.dtype, record)


def _refusal(case: case_lib.Case, chip: chips.Chip, dtype: str) -> str | None:
    """Returns why our kernel does not take the case on a chip, or None."""
    if case_lib.OURS not in case.kernel.implementations:
        return None
    refuse = case.kernel.implementations[case_lib.OURS].refuse
    return refuse(chip.device_kind, *case.shapes(dtype), **case.settings)


def _auto(case: case_lib.Case, chip: chips.Chip, dtype: str) -> str | None:
    try:
        return case.auto(chip, dtype)
    except dispatch.NotSupportedError:
        return None


def _costs(lines: Sequence[dumps.Line], compiled: bool) -> Record:
    """Returns the sums over a program's instructions, and a list of them."""
    if not lines:
        nothing = dict.fromkeys(
            (
                "cycles",
                "sim_cycles",
                "kernel_cycles",
                "around_cycles",
                "simulated_part",
                "bundles",
                "static_bundles",
                "unknown_loops",
                "vmem_bytes",
                "spills",
                "fills",
                "slot_use",
            )
        )
        status = COMPILED if compiled else FAILED
        return {"status": status, **nothing, "instructions": []}
    instructions = [_instruction(line) for line in lines]

    def total(name: str, *kinds: str) -> int:
        return sum(x[name] for x in instructions if not kinds or x["kind"] in kinds)

    cycles = total("cycles")
    complete = all(x["status"] == SIMULATED for x in instructions)
    known = sum(x["cycles"] for x in instructions if x["status"] == SIMULATED)
    return {
        "status": SIMULATED if complete else BUNDLES,
        "cycles": cycles,
        "sim_cycles": cycles if complete else None,
        "kernel_cycles": total("cycles", "pallas"),
        "around_cycles": total("cycles", "copy", "xla"),
        "simulated_part": known / cycles,
        "bundles": total("bundles"),
        "static_bundles": total("static_bundles"),
        "unknown_loops": total("unknown_loops"),
        "vmem_bytes": max(x["vmem_bytes"] for x in instructions),
        "spills": total("spills"),
        "fills": total("fills"),
        "slot_use": _slot_use(lines),
        "instructions": instructions,
    }


def _instruction(line: dumps.Line) -> Record:
    cost = line.cost
    simulated = cost.sim_cycles is not None
    once = cost.sim_cycles if simulated else cost.bundles
    return {
        "name": line.name,
        "kind": line.kind,
        "times": line.times,
        "status": SIMULATED if simulated else BUNDLES,
        "cycles": once * line.times,
        "bundles": cost.bundles * line.times,
        "static_bundles": cost.static_bundles,
        "unknown_loops": cost.unknown_loops,
        "vmem_bytes": cost.vmem_bytes,
        "spills": cost.spills,
        "fills": cost.fills,
    }


def _slot_use(lines: Sequence[dumps.Line]) -> dict[str, float]:
    """Returns the part of each slot that is filled, over all bundles issued."""
    use = {}
    for slot in dumps.SLOTS:
        filled = sum(x.cost.slots[slot] * x.times for x in lines)
        there = sum(x.cost.capacity[slot] * x.cost.bundles * x.times for x in lines)
        use[slot] = round(filled / there, 4) if there else 0.0
    return use


def _against_roofline(
    case: case_lib.Case, chip: chips.Chip, dtype: str, record: Record
) -> Record:
    names = ("roofline_cycles", "roofline", "binds", "fraction_of_roofline")
    least = case.least(chip, dtype)
    if least is None or not record["compiled"]:  # its cores are not known either
        return dict.fromkeys(names)
    # A device of several cores divides its work; cycles are those of one core.
    cores = record["cores"] or 1
    units = {name: x / cores for name, x in dataclasses.asdict(least).items()}
    fraction = least.cycles / cores / record["cycles"] if record["cycles"] else None
    if fraction and fraction > 1:
        fraction = None  # operands were moved to VMEM before what is counted
    return dict(zip(names, (least.cycles / cores, units, least.binds, fraction)))


def _with_ratios(records: Sequence[Record]) -> list[Record]:
    """Adds the best of XLA's forms, and how many times its cycles ours are."""
    theirs = [
        r for r in records if r["implementation"] != case_lib.OURS and r["cycles"]
    ]
    best = min(theirs, key=lambda r: r["cycles"], default=None)
    return [
        record
        | {
            "best_xla": best and best["implementation"],
            "ratio_to_best_xla": best["cycles"] / record["cycles"]
            if best and record["cycles"]
            else None,
        }
        for record in records
    ]


def table(records: Sequence[Record]) -> Iterator[str]:
    """Yields the lines of a table of one case's records for one topology."""
    first = records[0]
    keys = ("op", "pass", "shape", "dtype", "topology")
    yield "  ".join(str(first[key]) for key in keys)
    yield (
        f"  {'implementation':<22}{'cycles':>9}  {'status':<13}{'bundles':>9}"
        f"{'roofline':>9}{'part':>6}{'around':>8}{'VMEM MiB':>9}{'temp MiB':>9}"
        f"{'spills':>7}{'fills':>7}  {'busiest slots':<20}{'ratio':>7}"
    )
    for record in records:
        best = record["implementation"] == record["best_xla"]
        yield (
            f"  {record['implementation']:<22}{_number(record['cycles']):>9}"
            f"  {shown_status(record):<13}{_number(record['bundles']):>9}"
            f"{_number(record['roofline_cycles']):>9}"
            f"{_number(record['fraction_of_roofline'], '.0%'):>6}"
            f"{_number(record['around_cycles']):>8}"
            f"{_mebibytes(record['vmem_bytes']):>9}"
            f"{_mebibytes(record['hbm_temp_bytes']):>9}"
            f"{_number(record['spills']):>7}{_number(record['fills']):>7}"
            f"  {_busiest(record['slot_use']):<20}"
            f"{_number(record['ratio_to_best_xla'], '.2f'):>7}"
            + ("  <- best of XLA" if best else "")
        )
        if record["reason"]:
            yield f"      {record['reason']}"
        if record["implementation"] == case_lib.OURS:
            if record["status"] == BUNDLES and record["simulator_reason"]:
                yield f"      not simulated: {record['simulator_reason'][:160]}"
            yield from _around(record["instructions"])


def shown_status(record: Record) -> str:
    """Returns the status in words; what we do not take has not failed."""
    return "left to XLA" if record["refused"] else record["status"]


def _around(instructions: Sequence[Record]) -> Iterator[str]:
    if all(x["kind"] != "pallas" for x in instructions):
        return
    for x in instructions:
        if x["kind"] != "pallas":
            yield (
                f"      beside the kernel: {x['name']}, {x['cycles']:,} cycles "
                f"({x['status']})"
            )


def _busiest(use: Mapping[str, float] | None) -> str:
    if not use:
        return "-"
    top = sorted(use.items(), key=lambda item: -item[1])[:2]
    return ", ".join(f"{name} {part:.0%}" for name, part in top)


def _number(value: float | None, form: str = ",.0f") -> str:
    return "-" if value is None else format(value, form)


def _mebibytes(value: int | None) -> str:
    return "-" if value is None else format(value / 2**20, ".2f")
