"""Compares the cycles of our kernels with those of an earlier run."""

from collections.abc import Sequence
from typing import TextIO

from clinometer.kernels import terminal
from clinometer.kernels.bench import records as records_lib
from clinometer.tools.plan.tpu_cost import case as case_lib
from clinometer.tools.plan.tpu_cost import report

_KEY = ("op", "pass", "shape", "dtype", "topology")
_NEEDED = (*_KEY, "implementation", "status", "cycles")
_CONDITIONS = ("libtpu_version", "jax_version")


def read(path: str) -> list[report.Record]:
    """Reads records of our kernels.

    Args:
        path: a file of `clinometer tpu-cost --out`.

    Raises:
        ValueError: the file cannot be read, or has other contents.
    """
    found = records_lib.read_list(path, _NEEDED)
    for place, record in enumerate(found):
        cycles = record["cycles"]
        if cycles is not None and not (isinstance(cycles, int | float) and cycles > 0):
            raise ValueError(
                f"{path}: record {place}: cycles must be a number above 0 or null, got "
                f"{cycles!r}"
            )
    ours = [r for r in found if r["implementation"] == case_lib.OURS]
    if not ours:
        raise ValueError(f"{path}: has no record of the implementation {case_lib.OURS}")
    return ours


def text(
    old: Sequence[report.Record],
    new: Sequence[report.Record],
    tolerance: float,
    stream: TextIO | None = None,
) -> tuple[str, int]:
    """Compares two runs.

    Args:
        old: records of our kernels in the earlier run.
        new: all records of this run.
        tolerance: the fraction by which cycles may rise, e.g. 0.02.
        stream: where the text will be written; None for standard output.

    Returns:
        The text to show, and the number of kernels whose cycles rose by more, or are
        not known any more.

    Raises:
        ValueError: the runs have no kernel in common.
    """
    before = {_key(record): record for record in old}
    ours = [r for r in new if r["implementation"] == case_lib.OURS]
    common = [record for record in ours if _key(record) in before]
    if not common:
        raise ValueError(
            f"no kernel of the earlier run matches one of this run in {', '.join(_KEY)}"
        )
    lines = []
    for name in _CONDITIONS:
        was, now = (records[0].get(name) for records in (old, common))
        if was != now:
            lines.append(f"note: {name} was {was}, is {now}")
    risen, rows = 0, []
    for record in common:
        earlier = before[_key(record)]
        was, now = earlier["cycles"], record["cycles"]
        rose = was is not None and (now is None or now > was * (1 + tolerance))
        risen += rose
        change = f"{now / was - 1:+.1%}" if was and now else "-"
        name = " ".join(_key(record))
        if earlier["status"] != record["status"]:
            name += f" (was {earlier['status']}, is {record['status']})"
        rows.append((_cycles(was), _cycles(now), change, f"{'ROSE  ' * rose}{name}"))
    head = ("cycles before", "now", "change", "")
    lines += terminal.table(rows, head, left=(3,), widths=(13, 9, 7), stream=stream)
    absent = len(ours) - len(common)
    if absent:
        lines.append(f"{absent} of {len(ours)} kernels are not in the earlier run")
    lines.append(
        f"{risen} of {len(common)} kernels need more cycles by over {tolerance:.0%}"
    )
    return "\n".join(lines), risen


def _key(record: report.Record) -> tuple[str, ...]:
    return tuple(record[name] for name in _KEY)


def _cycles(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
