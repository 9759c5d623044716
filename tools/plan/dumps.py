"""Parses the TPU compiler's dumps of a program: the cost of each instruction.

libtpu's dumps are undocumented; kernels/README.md#what-the-tpu-compiler-says describes
how reliable they are. Equal instructions are compiled only once, so their cost is that
of the one with dump files.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import pathlib
import re

from clinometer.tools.plan import hlo

# Columns of the utilization table, in order.
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

# Address, mark ("LB" for the start of a loop body), one ">" per enclosing loop, and "}"
# if it is empty. Delay slots of branches are empty and have no ">".
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
# The program's frame, which starts the instructions, and what runs around it.
_FRAME = re.compile(r"<.*>|TLP")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The bundles of an instruction, of which one is issued per cycle.

    Attributes:
        trips: how often each bundle runs; both sides of a branch count.
        unknown_loops: number of loops with unknown trip counts, which count once.
    """

    trips: tuple[int, ...]
    unknown_loops: int

    @property
    def total(self) -> int:
        """Number of issued bundles, and so of cycles without stalls."""
        return sum(self.trips)


@dataclasses.dataclass(frozen=True)
class Utilization:
    """The use of the slots by each bundle.

    Attributes:
        capacity: number of slots of each kind, in the order of `SLOTS`.
        rows: number of slots that each bundle fills, in the order of `SLOTS`.
    """

    capacity: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class InstructionCost:
    """The cost of one run of an instruction.

    Attributes:
        static_bundles: number of bundles in its code.
        bundles: number of issued bundles, with loops times their trip counts.
        unknown_loops: number of loops with unknown trip counts, which count once.
        spills: number of instructions that spill a register.
        fills: number of instructions that reload a spilled register.
        slots: kind -> number of filled slots over all issued bundles.
        capacity: kind -> number of slots in a bundle.
        vmem_bytes: allocated VMEM, including double buffers.
        sim_cycles: cycles by the compiler's simulator; None if it gives none.
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
        name: name of the one with dump files.
        kind: "pallas", "copy", or "xla" for all others.
        times: how often it runs, including loops of the program.
        cost: cost of one run.
        hbm_bytes: minimum number of bytes that one run moves.
    """

    name: str
    kind: str
    times: int
    cost: InstructionCost
    hbm_bytes: int


def schedule(text: str) -> Schedule:
    """Parses `*-final_bundles.txt`."""
    depths: list[int | None] = []  # None for delay slots.
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
    """Parses `*-final_hlo-static-per-bundle-utilization.txt`.

    Raises:
        ValueError: the table doesn't have the expected columns.
    """
    rows = [
        tuple(map(int, line.split()))
        for line in text.splitlines()
        if re.fullmatch(r"[\d\s]+", line) and line.strip()
    ]
    if not rows or any(len(row) != len(SLOTS) for row in rows):
        raise ValueError(f"the utilization table does not have {len(SLOTS)} columns")
    return Utilization(rows[0], tuple(rows[1:]))


def allocations(text: str) -> dict[str, int]:
    """Parses `*-pre-finalize-registers-and-allocations.txt`: memory -> bytes."""
    sizes = {name: (space, int(n, 0)) for name, space, n in _ALLOCATION.findall(text)}
    total: dict[str, int] = {}
    for space, size in sizes.values():
        total[space] = total.get(space, 0) + size
    return total


def estimates(text: str) -> dict[str, int]:
    """Parses `*_static_llo_profile.textproto`: instruction -> simulated cycles."""
    return {name: int(cycles) for name, cycles in _ESTIMATE.findall(text)}


def simulated(folder: pathlib.Path | None) -> dict[str, int]:
    """Reads simulated cycles by instruction from the simulator's output.

    Args:
        folder: the folder of `--xla_jf_dump_static_llo_profile_to`, or None.
    """
    cycles: dict[str, int] = {}
    for path in sorted(folder.glob("*.textproto")) if folder else ():
        cycles.update(estimates(_text(path)))
    return cycles


def read(bundles: pathlib.Path, cycles: Mapping[str, int]) -> list[ProgramLine]:
    """Reads the dumps of a program.

    Args:
        bundles: the folder of `--xla_jf_dump_to`.
        cycles: instruction -> simulated cycles.

    Returns:
        The instructions with their costs, in the order of the program.

    Raises:
        ValueError: a file is missing or has an unexpected format.
    """
    costs = {
        name: dataclasses.replace(cost, sim_cycles=cycles.get(name))
        for name, cost in _costs(bundles)
    }
    lines: dict[str, ProgramLine] = {}
    for instruction in hlo.instructions(_program(bundles)):
        name = next((n for n in instruction.equal if n in costs), None)
        if name is None:
            continue  # It costs nothing or belongs to the program's frame.
        times = instruction.times + (lines[name].times if name in lines else 0)
        lines[name] = ProgramLine(
            name, instruction.kind, times, costs[name], instruction.hbm_bytes
        )
    return [line for line in lines.values() if line.cost.bundles > 1]


def hbm_bytes(bundles: pathlib.Path) -> int:
    """Returns the minimum number of bytes a program moves between HBM and its core.

    It includes asynchronous copies, also of operands that the previous program has
    begun to fetch.

    Args:
        bundles: the folder of `--xla_jf_dump_to`.
    """
    found = hlo.instructions(_program(bundles))
    return sum(instruction.hbm_bytes * instruction.times for instruction in found)


def _program(folder: pathlib.Path) -> str:
    return _text(_one(folder, "*-TLP-hlo.txt"))


def schedules(folder: pathlib.Path) -> dict[str, Schedule]:
    """Reads the schedules of a program: instruction -> its bundles.

    Args:
        folder: the folder of `--xla_jf_dump_to`.
    """
    return {name: schedule(_text(path)) for name, path in _scheduled(folder)}


def _scheduled(folder: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    """Yields (instruction, file of its bundles)."""
    for path in sorted(folder.glob("*-final_bundles.txt")):
        match = _FILE.fullmatch(path.name)
        if not match or "schedule-analysis" in path.name:
            continue
        if not _FRAME.fullmatch(match.group(1)):
            yield match.group(1), path


def _costs(folder: pathlib.Path) -> Iterator[tuple[str, InstructionCost]]:
    for name, path in _scheduled(folder):
        beside = path.name.split("-")[0] + "-" + name
        found = schedule(_text(path))
        table = utilization(
            _text(_one(folder, beside, "*static-per-bundle-utilization.txt"))
        )
        if len(table.rows) != len(found.trips):
            raise ValueError(
                f"{path.name}: read {len(found.trips)} bundles, but the utilization "
                f"table has {len(table.rows)}"
            )
        sizes = allocations(
            _text(_one(folder, beside, "*registers-and-allocations.txt"))
        )
        sums = {
            slot: sum(row[i] * n for row, n in zip(table.rows, found.trips))
            for i, slot in enumerate(SLOTS)
        }
        yield (
            name,
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
    """Sets the depth of each delay slot to the smaller depth of its neighbors."""
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
    """Yields (start, end) of every loop: a run of bundles of at least its depth."""
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
        raise ValueError(
            f"expected one file {'-'.join(parts)} in the dump, found {len(found)}"
        )
    return found[0]


def _text(path: pathlib.Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
