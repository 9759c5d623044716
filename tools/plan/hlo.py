"""The instructions of a compiled HLO module: their counts and bytes."""

import dataclasses
import math
import re

from clinometer.tools.plan import hlo_text

_REFERENCE = re.compile(r"%([\w.-]+)")
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
# Updates of their first operand in place, and which operand is written.
_UPDATES = {"dynamic-update-slice": 1, "scatter": 2}
_LIBRARY = re.compile(r'custom_call_target="__cu(?:blas|dnn)')
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


def instructions(text: str) -> list[Instruction]:
    """Returns the instructions of a scheduled module that are reachable from its entry.

    Instructions inside fusions are part of the fusion. The trip count of a loop is the
    known one, or else the constant in its condition.

    Args:
        text: the text of the module.

    Raises:
        ValueError: the text has no ENTRY computation.
    """
    module = hlo_text.parse(text)
    computations = module.computations
    reached = list(module.reached())
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


def _hbm_bytes(
    computations: hlo_text.Computations, computation: str, parsed: hlo_text.Statement
) -> int:
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


def _fused(
    computations: hlo_text.Computations, parsed: hlo_text.Statement
) -> list[hlo_text.Statement]:
    """Returns the body of a fusion; empty for other instructions."""
    if parsed.opcode != "fusion":
        return []
    called = parsed.called
    return computations.get(called[0], []) if called else []


def _parameter(body: list[hlo_text.Statement], place: int) -> str:
    inside = f" parameter({place})"
    return next((p.name for p in body if inside in p.line), "")


def _read(
    computations: hlo_text.Computations, body: list[hlo_text.Statement], name: str
) -> float:
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
        elif user.opcode not in _UPDATES or not is_first:
            return math.inf  # Only an update doesn't read its first operand.
    return total


def _written(
    body: list[hlo_text.Statement], types: dict[str, str], parsed: hlo_text.Statement
) -> int:
    """Returns the bytes written to HBM; for in-place updates, those of the update."""
    made = {p.name: p for p in body}
    root = body[-1]
    sizes = [size if not space else 0 for size, space in _arrays(parsed.type)]
    if len(sizes) > 1 and _LIBRARY.search(parsed.line):
        sizes.pop()  # Its workspace, of which it need not write anything.
    results = [root] * len(sizes)  # A call may have several results.
    if root.opcode == "tuple":
        results = [made.get(name) for name in root.operands]
    total = 0
    for result, size in zip(results, sizes):
        update = _UPDATES.get(result.opcode) if result is not None else None
        if update is not None and size:
            size = min(size, _size(types.get(result.operands[update], "")))
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


def _work(
    computations: hlo_text.Computations, computation: str, parsed: hlo_text.Statement
) -> str:
    """Returns a key that is equal for instructions that do the same work."""
    types = {p.name: p.type for p in computations[computation]}
    operands = [types.get(name, "") for name in parsed.operands]
    called = parsed.called
    attributes = hlo_text.CALLED.sub("", parsed.attributes)
    bodies = [_body(computations, name) for name in called]
    return "\n".join([parsed.type, parsed.opcode, *operands, attributes, *bodies])


def _body(computations: hlo_text.Computations, name: str) -> str:
    """Returns a computation's text with names replaced by their order."""
    order: dict[str, str] = {}
    lines = []
    for parsed in computations.get(name, ()):
        inner = [_body(computations, n) for n in parsed.called]
        text = hlo_text.CALLED.sub("", hlo_text.REMARKS.sub("", parsed.line)).replace(
            "ROOT ", ""
        )
        lines.append(
            _REFERENCE.sub(
                lambda match: order.setdefault(match.group(1), f"%{len(order)}"), text
            )
        )
        lines += inner
    return "\n".join(lines)
