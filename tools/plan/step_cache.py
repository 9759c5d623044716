"""Keeps what the compiler said about each train step, by the hash of the program."""

from collections.abc import Mapping
import dataclasses
import json
import lzma
import os
import pathlib
from typing import Any

from clinometer.data import cache
from clinometer.kernels.options import outputs
from clinometer.tools.plan import kernel_cost

# Changed whenever an entry means something else than before.
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one device that a program needs.

    Attributes:
        argument_bytes: of the arguments: the training state and the batch.
        temporary_bytes: of activations and other temporaries.
        output_bytes: of results that don't take the place of arguments.
    """

    argument_bytes: int
    temporary_bytes: int
    output_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of them."""
        return self.argument_bytes + self.temporary_bytes + self.output_bytes


@dataclasses.dataclass(frozen=True)
class Entry:
    """What the compiler said about a program.

    Attributes:
        facts: `step.Step.facts`.
        reason: why the compiler rejects the program; None if it does not.
        memory: what the program needs; None if it was rejected.
        text: the text of the optimized module for one device, or "".
        kernels: Pallas call -> cost of one run.
        compile_seconds: how long the compiler took.
    """

    facts: Mapping[str, Any]
    reason: str | None
    memory: Memory | None
    text: str
    kernels: Mapping[str, kernel_cost.KernelCost]
    compile_seconds: float


def folder() -> pathlib.Path:
    """Returns the folder of the entries, which need not exist."""
    return pathlib.Path(cache.folder()) / "plan"


def load(place: pathlib.Path, key: str) -> Entry | None:
    """Returns an entry, or None if there is none.

    Args:
        place: the folder of the entries.
        key: the hash of the program.
    """
    try:
        found = json.loads(lzma.decompress(_path(place, key).read_bytes()))
    except (OSError, lzma.LZMAError, ValueError):
        return None  # Absent, or damaged by another program: compile again.
    memory = found["memory"]
    kernels = found["kernels"].items()
    return Entry(
        facts=found["facts"],
        reason=found["reason"],
        memory=memory and Memory(**memory),
        text=found["text"],
        kernels={name: kernel_cost.KernelCost(**cost) for name, cost in kernels},
        compile_seconds=found["compile_seconds"],
    )


def save(place: pathlib.Path, key: str, entry: Entry) -> None:
    """Writes an entry atomically.

    Args:
        place: the folder of the entries, which is created if necessary.
        key: the hash of the program.
        entry: the entry.

    Raises:
        OSError: the folder cannot be written.
    """
    os.makedirs(place, exist_ok=True)
    text = json.dumps(dataclasses.asdict(entry)).encode()
    outputs.write_bytes(_path(place, key), lzma.compress(text))


def _path(place: pathlib.Path, key: str) -> pathlib.Path:
    return place / f"{key}-{_FORMAT}.json.xz"
