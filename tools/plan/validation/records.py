"""The work of the published rows' train steps, as this version compiles them."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
import pathlib
from typing import Any

from clinometer.kernels.options import outputs
from clinometer.tools.plan import run_plan
from clinometer.tools.plan import step_compiler
from clinometer.tools.plan import step_time
from clinometer.tools.plan import topologies
from clinometer.tools.plan.validation import published

FILE = pathlib.Path(__file__).parent / "records.json"
_KEPT = (
    *("program", "devices", "mesh", "estimated_cycles", "collectives", "memory"),
    *("flops_per_device", "versions"),
)


@dataclasses.dataclass(frozen=True)
class Found:
    """A published row, and the work of its step.

    Attributes:
        row: the row.
        work: the work of the step.
        values: what else is known of the program.
    """

    row: published.Row
    work: step_time.Work
    values: Mapping[str, Any]


def read(rows: Sequence[published.Row]) -> list[Found]:
    """Reads the records of those rows that have been compiled.

    Args:
        rows: the rows.
    """
    stored = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return [
        Found(
            row, step_time.Work(**stored[row.label]["work_seconds"]), stored[row.label]
        )
        for row in rows
        if row.label in stored
    ]


def write(found: Sequence[Found]) -> None:
    """Writes the records of rows.

    Args:
        found: the rows.
    """
    stored = {
        one.row.label: {**one.values, "work_seconds": dataclasses.asdict(one.work)}
        for one in found
    }
    outputs.write_text(FILE, json.dumps(stored, indent=1) + "\n")


def compiled(row: published.Row, cache: pathlib.Path, timeout: float) -> Found:
    """Compiles the step of a row, unless the cache has its program.

    Args:
        row: the row.
        cache: the folder of the cache.
        timeout: time limit in seconds.

    Raises:
        ValueError: the step does not fit.
    """
    chip, _ = topologies.resolve(row.topology)
    with step_compiler.StepCompiler(cache, timeout) as compiler:
        program = compiler.run(row.request)
    record = run_plan.make(row.request, program, chip, steps=1)
    if not record["fits"]:
        raise ValueError(f"{row.label}: {record['reason']}")
    work = step_time.Work(**record["work_seconds"])
    return Found(row, work, {key: record[key] for key in _KEPT})
