"""Parses the text of a compiled HLO module: computations, and how often they run."""

from collections.abc import Iterator
import dataclasses
import re

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) .*\{$")
_NAME = re.compile(r"^\s+(?:ROOT )?%([\w.-]+) = ")
_REFERENCE = re.compile(r"%([\w.-]+)")
CALLED = re.compile(r"\b(?:calls|to_apply|body)=%([\w.-]+)")
_CONSTANT = re.compile(r"s32\[\]\S* constant\((\d+)\)")
_TRIPS = re.compile(r'known_trip_count"?[:=]\s*\{"?n"?:\s*"?(\d+)')
# These attributes don't affect the work that an instruction does.
REMARKS = re.compile(
    r", (?:sharding|frontend_attributes|metadata|backend_config|origin)=.*"
)
_COPIES = ("copy", "transpose", "reshape", "bitcast-convert")


@dataclasses.dataclass(frozen=True)
class Statement:
    """A line of a computation.

    Attributes:
        name: name of the result.
        type: its type, or the tuple of types.
        opcode: such as "fusion".
        operands: names of the operands.
        attributes: what follows the operands, without remarks.
        line: the whole line.
    """

    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    line: str

    @property
    def kind(self) -> str:
        """What it is: "pallas", "copy", or "xla" for all others."""
        if self.opcode == "custom-call":
            return "pallas" if "tpu_custom_call" in self.line else "xla"
        return "copy" if self.opcode in _COPIES else "xla"

    @property
    def called(self) -> list[str]:
        """Names of the computations that it calls."""
        return CALLED.findall(self.attributes)


Computations = dict[str, list[Statement]]


@dataclasses.dataclass(frozen=True)
class Module:
    """A parsed module.

    Attributes:
        computations: name -> its statements, in order.
        entry: name of the entry computation.
    """

    computations: Computations
    entry: str

    def reached(self) -> Iterator[tuple[str, Statement, int]]:
        """Yields (computation, statement, times) for all that runs as one kernel each.

        Statements inside fusions are part of the fusion. The trip count of a loop is
        the known one, or else the constant in its condition, or else 1.
        """
        yield from _reached(self.computations, self.entry, 1)

    @property
    def unknown_loops(self) -> int:
        """Number of loops whose trip counts are unknown, of which one trip counts."""
        return sum(
            trips(self.computations, statement) is None
            for statements in self.computations.values()
            for statement in statements
            if statement.opcode == "while"
        )


def parse(text: str) -> Module:
    """Parses a scheduled module.

    Args:
        text: the text of the module.

    Raises:
        ValueError: the text has no ENTRY computation.
    """
    computations: Computations = {}
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
    if entry is None:
        raise ValueError("the HLO text has no ENTRY computation")
    return Module(computations, entry)


def _instruction(name: str, line: str) -> Statement:
    rest = line.split(" = ", 1)[1]
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    type_, rest = rest[:end], rest[end:].lstrip()
    opening = rest.index("(")
    closing = _closing(rest, opening)
    return Statement(
        name,
        type_,
        rest[:opening],
        tuple(_REFERENCE.findall(rest[opening:closing])),
        REMARKS.sub("", rest[closing + 1 :]),
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
    computations: Computations, name: str, times: int
) -> Iterator[tuple[str, Statement, int]]:
    for parsed in computations.get(name, ()):
        if parsed.opcode == "while":
            count = trips(computations, parsed) or 1
            for body in parsed.called:
                yield from _reached(computations, body, times * count)
        elif parsed.opcode in ("call", "conditional"):
            for branch in _REFERENCE.findall(parsed.attributes):
                yield from _reached(computations, branch, times)
        else:
            yield name, parsed, times


def trips(computations: Computations, loop: Statement) -> int | None:
    """Returns how often the body of a loop runs; None if that is unknown.

    Args:
        computations: those of the module.
        loop: a "while".
    """
    if match := _TRIPS.search(loop.line):
        return int(match.group(1))
    condition = re.search(r"condition=%([\w.-]+)", loop.line)
    bounds = [
        int(n)
        for parsed in computations.get(condition.group(1) if condition else "", ())
        for n in _CONSTANT.findall(parsed.line)
    ]
    return bounds[0] if len(bounds) == 1 else None
