"""What the compiler's text says about the cost of a program on one device.

The TPU compiler writes an estimate of cycles on every fusion. Its own total for a
program counts the body of a loop once, so the estimates are summed here, each times
how often it runs. Collectives and Pallas calls have no estimate: of the former the
bytes are counted, of the latter the runs.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import math
import re

from clinometer.tools.plan import hlo_text

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-permute",
    "reduce-scatter",
)
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_ARRAY = re.compile(r"\b(pred|[a-z]+?(\d+)\w*)\[([\d,]*)\]")
# Three ways of writing groups of 8 devices: [4,8]<=[32], {{0,1,2,3,4,5,6,7},...}, and
# mesh['a'=4,'b'=8] {'b'}, where an axis may be divided further: {'a':(1)2}.
_IOTA_GROUPS = re.compile(r"replica_groups=\[\d+,(\d+)\]")
_LISTED_GROUPS = re.compile(r"replica_groups=\{\{([\d,]+)\}")
_MESH_GROUPS = re.compile(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}")
_AXIS = re.compile(r"'(\w+)'(?:=(\d+)|:\(\d+\)(\d+))?")
_SCATTER = "all-reduce-scatter"  # A fusion of an all-reduce and a slice of its result.


@dataclasses.dataclass(frozen=True)
class Collective:
    """The collectives of one kind in a program.

    Attributes:
        count: how many run.
        payload_bytes: bytes of their operands on a device; for "all-gather" those of
            the result.
        wire_bytes: bytes that a device sends if they run as rings: 2 (k - 1) / k of the
            payload for "all-reduce" among k devices, all of it for
            "collective-permute", and (k - 1) / k for the others.
    """

    count: int
    payload_bytes: int
    wire_bytes: float


@dataclasses.dataclass(frozen=True)
class StepCost:
    """The cost of a program on one device.

    Attributes:
        cycles: the compiler's estimates, summed over all runs.
        estimates: number of instructions that have an estimate.
        collectives: kind -> the collectives of this kind, if there are any.
        pallas_calls: name of a Pallas call -> how often it runs.
        unknown_loops: number of loops with unknown trip counts, which count once.
    """

    cycles: int
    estimates: int
    collectives: Mapping[str, Collective]
    pallas_calls: Mapping[str, int]
    unknown_loops: int

    @property
    def wire_bytes(self) -> float:
        """Bytes that a device sends, over all kinds of collectives."""
        return sum(found.wire_bytes for found in self.collectives.values())


def read(text: str) -> StepCost:
    """Reads the cost of a program.

    Args:
        text: the text of the optimized module, scheduled for one device.

    Raises:
        ValueError: the text has no ENTRY computation, or the groups of a collective
            are in an unknown form.
    """
    module = hlo_text.parse(text)
    cycles = estimates = 0
    collectives: dict[str, Collective] = {}
    calls: dict[str, int] = {}
    for computation, statement, times in module.reached():
        if found := _CYCLES.search(statement.line):
            cycles += int(found.group(1)) * times
            estimates += 1
        if statement.kind == "pallas":
            calls[statement.name] = calls.get(statement.name, 0) + times
        for kind, payload, devices in _inside(module, computation, statement):
            before = collectives.get(kind, Collective(0, 0, 0.0))
            collectives[kind] = Collective(
                before.count + times,
                before.payload_bytes + times * payload,
                before.wire_bytes + times * payload * _on_the_wire(kind, devices),
            )
    return StepCost(
        cycles,
        estimates,
        dict(sorted(collectives.items())),
        calls,
        module.unknown_loops,
    )


def _inside(
    module: hlo_text.Module, computation: str, statement: hlo_text.Statement
) -> Iterator[tuple[str, int, int]]:
    """Yields (kind, payload bytes, devices) of each collective in a statement."""
    kind = statement.opcode.removesuffix("-start")
    if kind in COLLECTIVES:
        types = {x.name: x.type for x in module.computations[computation]}
        payload = sum(size(types.get(name, "")) for name in statement.operands)
        moved = kind == "collective-permute"  # It has pairs of devices, no groups.
        devices = 2 if moved else _group_size(statement.line)
        yield kind, payload * (devices if kind == "all-gather" else 1), devices
    elif statement.opcode in ("fusion", "async-start"):
        for name in statement.called:
            for inner in module.computations.get(name, ()):
                for found, payload, devices in _inside(module, name, inner):
                    fused = name.startswith(_SCATTER) and found == "all-reduce"
                    yield "reduce-scatter" if fused else found, payload, devices


def _group_size(line: str) -> int:
    """Returns the number of devices that a collective runs among."""
    if found := _IOTA_GROUPS.search(line):
        return int(found.group(1))
    if found := _LISTED_GROUPS.search(line):
        return found.group(1).count(",") + 1
    if found := _MESH_GROUPS.search(line):
        sizes = {name: int(n) for name, n, _ in _AXIS.findall(found.group(1))}
        used = _AXIS.findall(found.group(2))
        return math.prod(int(part) if part else sizes[name] for name, _, part in used)
    raise ValueError(f"a collective's groups are not known: {line.strip()[:300]}")


def _on_the_wire(kind: str, devices: int) -> float:
    if kind == "collective-permute":
        return 1.0
    once = (devices - 1) / devices
    return 2 * once if kind == "all-reduce" else once


def size(type_: str) -> int:
    """Returns the bytes of all arrays of a type.

    Args:
        type_: such as "f32[2,3]{1,0}", or a tuple of types.
    """
    total = 0
    for _, bits, shape in _ARRAY.findall(type_):
        elements = math.prod(int(n) for n in shape.split(",")) if shape else 1
        total += elements * max(int(bits or 8), 8) // 8
    return total
