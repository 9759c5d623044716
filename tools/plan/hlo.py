"""Parses the text of a compiled HLO module: instructions, their counts and bytes."""

from collections.abc import Iterator
import dataclasses
import math
import re

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) .*\{$")
_NAME = re.compile(r"^\s+(?:ROOT )?%([\w.-]+) = ")
_REFERENCE = re.compile(r"%([\w.-]+)")
_CALLED = re.compile(r"\b(?:calls|to_apply|body)=%([\w.-]+)")
_CONSTANT = re.compile(r"s32\[\]\S* constant\((\d+)\)")
_TRIPS = re.compile(r'known_trip_count"?[:=]\s*\{"?n"?:\s*"?(\d+)')
# These attributes don't affect the work that an instruction does.
_REMARKS = re.compile(
    r", (?:sharding|frontend_attributes|metadata|backend_config|origin)=.*"
)
_COPIES = ("copy", "transpose", "reshape", "bitcast-convert")
# An array's type: element type, shape, and memory space if it is not HBM.
_ARRAY = re.compile(r"\b[a-z]+(\d*)\w*\[([\d,]*)\](?:\{[^}]*?(S\(\d+\))?\})?")
# These only name existing values, or allocate memory without writing to it.
_MOVES_NOTHING = (
    *("parameter", "constant", "bitcast", "tuple", "get-tuple-element", "after-all"),
    *("partition-id", '"ConcatBitcast"', '"AllocateBuffer"'),
    '"AssumeGatherIndicesInBound"',
)
_SAME = ("bitcast", "reshape", "transpose", "convert", "copy")  # Of about equal size.
_TARGET = re.compile(r"custom_call_target=(\"\w+\")")
_PARTS = ("slice", "dynamic-slice", "gather")  # They read part of the first operand.


@dataclasses.dataclass(frozen=True)
class Instruction:
    """An instruction that runs as one kernel.

    Attributes:
        name: its name in the program.
        kind: "pallas", "copy", or "xla" for all others.
        times: how often it runs.
        equal: its name, followed by those of instructions that do the same work.
        hbm_bytes: minimum number of bytes that one run moves between HBM and the core:
            operands are read once (only the slice of sliced ones) and results are
            written once.
    """

    name: str
    kind: str
    times: int
    equal: tuple[str, ...]
    hbm_bytes: int


@dataclasses.dataclass(frozen=True)
class _Parsed:
    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str  # Without those of `_REMARKS`.
    line: str

    @property
    def kind(self) -> str:
        if self.opcode == "custom-call":
            return "pallas" if "tpu_custom_call" in self.line else "xla"
        return "copy" if self.opcode in _COPIES else "xla"


_Computations = dict[str, list[_Parsed]]


def instructions(text: str) -> list[Instruction]:
    """Returns the instructions of a scheduled module that are reachable from its entry.

    Instructions inside fusions are part of the fusion. The trip count of a loop is the
    known one, or else the constant in its condition.

    Args:
        text: the text of the module.

    Raises:
        ValueError: the text has no ENTRY computation.
    """
    computations, entry = _parse(text)
    if entry is None:
        raise ValueError("the HLO text has no ENTRY computation")
    reached = list(_reached(computations, entry, 1))
    work = {
        parsed.name: _work(computations, name, parsed) for name, parsed, _ in reached
    }
    names: dict[str, list[str]] = {}
    for name, key in work.items():
        names.setdefault(key, []).append(name)
    return [
        Instruction(
            parsed.name,
            parsed.kind,
            times,
            (parsed.name, *(n for n in names[work[parsed.name]] if n != parsed.name)),
            _hbm_bytes(computations, computation, parsed),
        )
        for computation, parsed, times in reached
    ]


def _parse(text: str) -> tuple[_Computations, str | None]:
    computations: _Computations = {}
    entry = current = None
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            current = match.group(2)
            computations[current] = []
            entry = current if match.group(1) else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (match := _NAME.match(line)):
            computations[current].append(_instruction(match.group(1), line))
    return computations, entry


def _instruction(name: str, line: str) -> _Parsed:
    rest = line.split(" = ", 1)[1]
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    type_, rest = rest[:end], rest[end:].lstrip()
    opening = rest.index("(")
    closing = _closing(rest, opening)
    return _Parsed(
        name,
        type_,
        rest[:opening],
        tuple(_REFERENCE.findall(rest[opening:closing])),
        _REMARKS.sub("", rest[closing + 1 :]),
        line,
    )


def _closing(text: str, opening: int) -> int:
    """Returns the index of the parenthesis that closes the one at `opening`."""
    depth = 0
    for place in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return len(text)


def _reached(
    computations: _Computations, name: str, times: int
) -> Iterator[tuple[str, _Parsed, int]]:
    for parsed in computations.get(name, ()):
        if parsed.opcode == "while":
            trips = _trips(computations, parsed.line)
            for body in _CALLED.findall(parsed.attributes):
                yield from _reached(computations, body, times * trips)
        elif parsed.opcode in ("call", "conditional"):
            for branch in _REFERENCE.findall(parsed.attributes):
                yield from _reached(computations, branch, times)
        else:
            yield name, parsed, times


def _trips(computations: _Computations, line: str) -> int:
    if match := _TRIPS.search(line):
        return int(match.group(1))
    condition = re.search(r"condition=%([\w.-]+)", line)
    bounds = [
        int(n)
        for parsed in computations.get(condition.group(1) if condition else "", ())
        for n in _CONSTANT.findall(parsed.line)
    ]
    return bounds[0] if len(bounds) == 1 else 1


def _hbm_bytes(computations: _Computations, computation: str, parsed: _Parsed) -> int:
    target = _TARGET.search(parsed.line)
    what = target.group(1) if target else parsed.opcode
    if what in _MOVES_NOTHING or parsed.opcode.endswith("-done"):
        return 0  # The bytes of a "-done" were counted at its "-start".
    types = {p.name: p.type for p in computations[computation]}
    if parsed.opcode.endswith("-start"):
        # One side is moved completely; of the other side, it may be a slice.
        sides = _arrays(parsed.type)[:2]
        in_hbm = sum(not space for _, space in sides)
        return min(size for size, _ in sides) * in_hbm
    body = _fused(computations, parsed) or [parsed]
    read = 0.0
    for place, name in enumerate(parsed.operands):
        if name in parsed.operands[:place]:
            continue  # It is read only once.
        inside = name if body == [parsed] else _parameter(body, place)
        read += min(_in_hbm(types.get(name, "")), _read(computations, body, inside))
    return round(read) + _written(body, {p.name: p.type for p in body} | types, parsed)


def _fused(computations: _Computations, parsed: _Parsed) -> list[_Parsed]:
    """Returns the body of a fusion; empty for other instructions."""
    if parsed.opcode != "fusion":
        return []
    called = _CALLED.findall(parsed.attributes)
    return computations.get(called[0], []) if called else []


def _parameter(body: list[_Parsed], place: int) -> str:
    inside = f" parameter({place})"
    return next((p.name for p in body if inside in p.line), "")


def _read(computations: _Computations, body: list[_Parsed], name: str) -> float:
    """Returns how many bytes of a value a body reads; infinity if all of it."""
    total = 0.0
    for user in body:
        if name not in user.operands:
            continue
        is_first = user.operands.index(name) == 0 and user.operands.count(name) == 1
        if user.opcode in _PARTS and is_first:
            total += _size(user.type)
        elif user.opcode in _SAME and user is not body[-1]:
            total += _read(computations, body, user.name)
        elif inner := _fused(computations, user):
            place = user.operands.index(name)
            total += _read(computations, inner, _parameter(inner, place))
        elif user.opcode != "dynamic-update-slice" or not is_first:
            return math.inf  # Only an update doesn't read its first operand.
    return total


def _written(body: list[_Parsed], types: dict[str, str], parsed: _Parsed) -> int:
    """Returns the bytes written to HBM; for in-place updates, those of the update."""
    made = {p.name: p for p in body}
    root = body[-1]
    sizes = [size if not space else 0 for size, space in _arrays(parsed.type)]
    results = [root] * len(sizes)  # A call may have several results.
    if root.opcode == "tuple":
        results = [made.get(name) for name in root.operands]
    total = 0
    for result, size in zip(results, sizes):
        if result is not None and result.opcode == "dynamic-update-slice" and size:
            size = min(size, _size(types.get(result.operands[1], "")))
        total += size
    return total


def _arrays(type_: str) -> list[tuple[int, str]]:
    """Returns (bytes, memory space) of all arrays in a type.

    The memory space is "" for HBM. Scalars count as 0 bytes.
    """
    found = []
    for bits, shape, space in _ARRAY.findall(type_):
        elements = math.prod(int(n) for n in shape.split(",")) if shape else 0
        found.append((elements * max(int(bits or 8), 8) // 8, space))
    return found


def _size(type_: str) -> int:
    return sum(size for size, _ in _arrays(type_))


def _in_hbm(type_: str) -> int:
    return sum(size for size, space in _arrays(type_) if not space)


def _work(computations: _Computations, computation: str, parsed: _Parsed) -> str:
    """Returns a key that is equal for instructions that do the same work."""
    types = {p.name: p.type for p in computations[computation]}
    operands = [types.get(name, "") for name in parsed.operands]
    called = _CALLED.findall(parsed.attributes)
    attributes = _CALLED.sub("", parsed.attributes)
    bodies = [_body(computations, name) for name in called]
    return "\n".join([parsed.type, parsed.opcode, *operands, attributes, *bodies])


def _body(computations: _Computations, name: str) -> str:
    """Returns a computation's text with names replaced by their order."""
    order: dict[str, str] = {}
    lines = []
    for parsed in computations.get(name, ()):
        inner = [_body(computations, n) for n in _CALLED.findall(parsed.attributes)]
        text = _CALLED.sub("", _REMARKS.sub("", parsed.line)).replace("ROOT ", "")
        lines.append(
            _REFERENCE.sub(
                lambda match: order.setdefault(match.group(1), f"%{len(order)}"), text
            )
        )
        lines += inner
    return "\n".join(lines)
