"""Reads what the TPU compiler writes about a program: the cost of each instruction.

libtpu's dumps are undocumented; kernels/README.md#what-the-tpu-compiler-says tells how
far to trust them. An instruction that is equal to an earlier one is compiled once, so
its cost is that of the one that has files.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import pathlib
import re

from clinometer.tools.plan import hlo

# Columns of the utilization table, in its order.
SLOTS = (
    "matmul",
    "matpush",
    "xlu",
    "valu",
    "vpop",
    "eup",
    "vload",
    "fill",
    "vstore",
    "spill",
    "salu",
)

# Address, mark ("LB" for the start of a loop's body), one ">" a loop around it, and "}"
# where it is empty: a branch's delay slots are, and then have no ">".
_BUNDLE = re.compile(r"^\s*(?:0x[0-9a-f]+|0)\s+([A-Z]{2})?\s*:\s*((?:>\s*)*)\{(\s*\})?")
_EXIT = re.compile(
    r"scmp\.ge\.s32\.totalorder [^,]+, (\d+)\s*"
    r"/\* (?:copy for cssa :: )?loop exit test"
)
_ALLOCATION = re.compile(
    r"#(allocation\d+) \[[^\n]*?space=(\w+), size = (0x[0-9a-f]+|\d+)"
)
_ESTIMATE = re.compile(r'hlo_op_name: "([^"]+)"\s+estimated_cycles: (\d+)')
_FILE = re.compile(r"\d+-(.+)-\d+-final_bundles\.txt")
# The program's own frame, which starts what it holds, and what runs around it.
_FRAME = re.compile(r"<.*>|TLP")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The bundles of an instruction, one issued a cycle.

    Attributes:
        trips: how often each runs; both sides of a branch count.
        unknown_loops: loops whose trips the dump does not tell, counted once.
    """

    trips: tuple[int, ...]
    unknown_loops: int

    @property
    def total(self) -> int:
        """How many are issued, if nothing is waited for."""
        return sum(self.trips)


@dataclasses.dataclass(frozen=True)
class Utilization:
    """How many of each slot every bundle fills, in the order of `SLOTS`."""

    capacity: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class InstructionCost:
    """What is known of one instruction, run once.

    Attributes:
        static_bundles: in its code.
        bundles: issued, loops times their trips.
        unknown_loops: as `Schedule`.
        spills: instructions that store a register for want of registers.
        fills: those that load it again.
        slots: slots filled, by name, over all bundles issued.
        capacity: slots there are in a bundle, by name.
        vmem_bytes: what it allocates, double buffers included.
        sim_cycles: by the compiler's simulator; None where it says nothing.
    """

    static_bundles: int
    bundles: int
    unknown_loops: int
    spills: int
    fills: int
    slots: Mapping[str, int]
    capacity: Mapping[str, int]
    vmem_bytes: int
    sim_cycles: int | None = None


@dataclasses.dataclass(frozen=True)
class ProgramLine:
    """An instruction of the program, or several equal ones, with its cost.

    Attributes:
        name: of the first, in the compiled program.
        kind: "pallas", "copy", or "xla" for all others.
        times: how often it runs, loops of the program included.
        cost: of one run.
        hbm_bytes: that one run moves at the least.
    """

    name: str
    kind: str
    times: int
    cost: InstructionCost
    hbm_bytes: int


def schedule(text: str) -> Schedule:
    """Reads `*-final_bundles.txt`."""
    depths: list[int | None] = []  # None: of a delay slot
    heads: list[bool] = []
    exits: list[list[int]] = []
    for line in text.splitlines():
        if match := _BUNDLE.match(line):
            mark, depth, empty = match.groups()
            depths.append(depth.count(">") or (None if empty else 0))
            heads.append(mark == "LB")
            exits.append([])
        if exits:
            exits[-1] += map(int, _EXIT.findall(line))
    known = _with_delay_slots(depths)
    trips = [1] * len(known)
    unknown = 0
    for start, end in _loops(known, heads):
        inside = [exits[i] for i in range(start, end) if known[i] == known[start]]
        tests = [test for found in inside for test in found]
        unknown += not tests
        for i in range(start, end):
            trips[i] *= tests[-1] if tests else 1
    return Schedule(tuple(trips), unknown)


def utilization(text: str) -> Utilization:
    """Reads `*-final_hlo-static-per-bundle-utilization.txt`."""
    rows = [
        tuple(map(int, line.split()))
        for line in text.splitlines()
        if re.fullmatch(r"[\d\s]+", line) and line.strip()
    ]
    if not rows or any(len(row) != len(SLOTS) for row in rows):
        raise ValueError(f"a utilization table has {len(SLOTS)} columns")
    return Utilization(rows[0], tuple(rows[1:]))


def allocations(text: str) -> dict[str, int]:
    """Reads `*-pre-finalize-registers-and-allocations.txt`: bytes by memory."""
    sizes = {name: (space, int(n, 0)) for name, space, n in _ALLOCATION.findall(text)}
    total: dict[str, int] = {}
    for space, size in sizes.values():
        total[space] = total.get(space, 0) + size
    return total


def estimates(text: str) -> dict[str, int]:
    """Reads `*_static_llo_profile.textproto`: simulated cycles by instruction."""
    return {name: int(cycles) for name, cycles in _ESTIMATE.findall(text)}


def simulated(folder: pathlib.Path | None) -> dict[str, int]:
    """Reads a folder of `--xla_jf_dump_static_llo_profile_to`, where there is one."""
    cycles: dict[str, int] = {}
    for path in sorted(folder.glob("*.textproto")) if folder else ():
        cycles.update(estimates(_text(path)))
    return cycles


def read(bundles: pathlib.Path, cycles: Mapping[str, int]) -> list[ProgramLine]:
    """Reads the dumps of one program.

    Args:
        bundles: the folder of `--xla_jf_dump_to`.
        cycles: of instructions that were simulated.

    Raises:
        ValueError: a file is missing or is not as it was when this was written.
    """
    costs = {
        name: dataclasses.replace(cost, sim_cycles=cycles.get(name))
        for name, cost in _costs(bundles)
    }
    lines: dict[str, ProgramLine] = {}
    for instruction in hlo.instructions(_program(bundles)):
        name = next((n for n in instruction.equal if n in costs), None)
        if name is None:
            continue  # it is free, or a part of the program's frame
        times = instruction.times + (lines[name].times if name in lines else 0)
        lines[name] = ProgramLine(
            name, instruction.kind, times, costs[name], instruction.hbm_bytes
        )
    return [line for line in lines.values() if line.cost.bundles > 1]


def hbm_bytes(bundles: pathlib.Path) -> int:
    """Returns the bytes that a program moves between HBM and its core, at the least.

    Copies beside the instructions count, also those of operands that the program before
    has begun to fetch.
    """
    found = hlo.instructions(_program(bundles))
    return sum(instruction.hbm_bytes * instruction.times for instruction in found)


def _program(folder: pathlib.Path) -> str:
    return _text(_one(folder, "*-TLP-hlo.txt"))


def _costs(folder: pathlib.Path) -> Iterator[tuple[str, InstructionCost]]:
    for path in sorted(folder.glob("*-final_bundles.txt")):
        match = _FILE.fullmatch(path.name)
        if not match or "schedule-analysis" in path.name:
            continue
        if _FRAME.fullmatch(match.group(1)):
            continue
        beside = path.name.split("-")[0] + "-" + match.group(1)
        found = schedule(_text(path))
        table = utilization(
            _text(_one(folder, beside, "*static-per-bundle-utilization.txt"))
        )
        if len(table.rows) != len(found.trips):
            raise ValueError(f"{path.name}: {len(found.trips)} bundles are read of")
        sizes = allocations(
            _text(_one(folder, beside, "*registers-and-allocations.txt"))
        )
        sums = {
            slot: sum(row[i] * n for row, n in zip(table.rows, found.trips))
            for i, slot in enumerate(SLOTS)
        }
        yield (
            match.group(1),
            InstructionCost(
                static_bundles=len(found.trips),
                bundles=found.total,
                unknown_loops=found.unknown_loops,
                spills=sum(row[SLOTS.index("spill")] for row in table.rows),
                fills=sum(row[SLOTS.index("fill")] for row in table.rows),
                slots=sums,
                capacity=dict(zip(SLOTS, table.capacity)),
                vmem_bytes=sizes.get("vmem", 0),
            ),
        )


def _with_delay_slots(depths: list[int | None]) -> list[int]:
    """Gives a delay slot the lesser of its neighbours' depths."""
    after: list[int] = []
    depth = 0
    for found in reversed(depths):
        depth = depth if found is None else found
        after.append(depth)
    after.reverse()
    known = []
    before = 0
    for found, following in zip(depths, after, strict=True):
        if found is None:
            known.append(min(before, following))
        else:
            before = found
            known.append(found)
    return known


def _loops(depths: list[int], heads: list[bool]) -> Iterator[tuple[int, int]]:
    """Yields start and end of every loop: bundles that lie as deep, up to the next."""
    for start, depth in enumerate(depths):
        if depth == 0 or not (heads[start] or depth > depths[start - 1]):
            continue
        end = start + 1
        while end < len(depths) and depths[end] >= depth:
            if heads[end] and depths[end] == depth:
                break
            end += 1
        yield start, end


def _one(folder: pathlib.Path, *parts: str) -> pathlib.Path:
    pattern = re.escape(parts[0]) + ".*" if len(parts) > 1 else None
    found = [
        path
        for path in sorted(folder.glob(parts[-1]))
        if pattern is None or re.match(pattern.replace(".*", r"-\d"), path.name)
    ]
    if len(found) != 1:
        raise ValueError(f"{len(found)} files are {'-'.join(parts)}")
    return found[0]


def _text(path: pathlib.Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
