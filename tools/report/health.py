"""Warnings about runs, such as noisy speeds and loss spikes."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from clinometer.tools.fit import comparable
from clinometer.tools.report import conditions
from clinometer.tools.report import copies
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import selection
from clinometer.tools.report import speeds

# A change of the reference benchmark by more than this fraction is a warning.
_DRIFT = 0.1
_LOSSES = ("train/loss", "validation/loss")


def warnings(
    rows: Sequence[rows_lib.Row],
    metrics: Mapping[str, Sequence[Mapping[str, Any]]],
    lost: Sequence[str] = (),
    mixed: Sequence[str] = (),
) -> list[str]:
    """Returns warnings about runs that are unfinished, noisy, unstable or repeated.

    Args:
        rows: rows of the table of runs.
        metrics: run -> lines of its metrics.jsonl.
        lost: names of runs without a record.
        mixed: columns in which runs may differ, see `fit/comparable.py`.

    Returns:
        A sentence for each warning.
    """
    found = []
    if selection.all_are_pilots(rows):
        found.append("the runs are a pilot's: they choose a design and decide no claim")
    found += [f"{name} left no record and is left out of all fits" for name in lost]
    for row in rows:
        if row["status"] != "finished":
            why = f": {row['error']}" if row["error"] else ""
            found.append(
                f"{row['run']}: {row['status']} at step {row['step'] or 0} of "
                f"{row['train_steps']}, left out of all fits{why}"
            )
        elif row["validation_loss_nats"] is None:
            found.append(
                f"{row['run']} has no finite validation loss and is left out of all "
                "fits"
            )
    by_name = {row["run"]: row for row in rows}
    for row in rows:
        if row["copy_of"] is not None:
            what = copies.describe(row, by_name[row["copy_of"]])
            found.append(f"{row['run']} is {what}; it is left out of all fits")
    timed = speeds.measured(rows)
    noisy = [row["run"] for row in timed if row["speed_noisy"]]
    if noisy:
        found.append(
            f"{_which(noisy, len(timed))}: speed is noisy (standard error of the "
            "median above 2 % or measured beside other work); left out of fits against "
            "time"
        )
    for row in timed:
        drift = row["matmul_drift"]
        if drift is not None and abs(drift) > _DRIFT:
            found.append(
                f"{row['run']}: the rate of the reference benchmark changed by "
                f"{100 * drift:+.0f} % during the run"
            )
    for row in rows:
        lines = metrics[row["run"]]
        spikes = [line["step"] for line in lines if _is_spike(line)]
        if spikes:
            found.append(
                f"{row['run']}: {_counted(spikes, 'loss spike', 'loss spikes')}"
            )
        infinite = [line["step"] for line in lines if _is_not_finite(line)]
        if infinite:
            what = ("loss that is not finite", "losses that are not finite")
            found.append(f"{row['run']}: {_counted(infinite, *what)}")
    scopes = (comparable.Scope.ALL, comparable.Scope.MODEL)
    done = [row for row in rows if row["status"] == "finished"]
    found += _about_rates(done)
    silent = sum(not metrics[row["run"]] for row in done)
    if silent:
        found.append(
            f"{silent} of {len(done)} finished runs have only a record, without a log "
            "(metrics.jsonl): their loss curves are missing and loss spikes unknown"
        )
    for one in comparable.differences(done, scopes):
        if one.field.column in mixed:
            found.append(f"as asked for, fits mix runs that differ in {one}")
    return found


def _about_rates(rows: Sequence[rows_lib.Row]) -> list[str]:
    """Says what the reader must know about the learning rates of finished runs."""
    found = []
    protocols = {row["rate_protocol"] for row in rows}
    models = {row["model"] for row in rows}
    if len(protocols) == 1 and len(models) > 1 and not protocols & {None}:
        (protocol,) = protocols
        if protocol.startswith(conditions.FIXED):
            found.append(
                f"the learning rate is {protocol} for all models and not tuned: "
                "differences between sizes and architectures may come from it"
            )
    other = [
        row["run"]
        for row in rows
        if row["rate_corpus_hash"] not in (None, row["corpus_hash"])
    ]
    if other:
        found.append(
            f"{_which(other, len(rows))}: the learning rates were tuned on another "
            "corpus than the runs were trained on"
        )
    return found


def _which(names: Sequence[str], total: int) -> str:
    if len(names) == total > 1:
        return f"all {total} runs"
    return ", ".join(names)


def _counted(steps: Sequence[int], one: str, several: str) -> str:
    listed = ", ".join(map(str, steps[:5])) + (", …" if len(steps) > 5 else "")
    return f"{len(steps)} {one if len(steps) == 1 else several}, at step {listed}"


def _is_not_finite(line: Mapping[str, Any]) -> bool:
    return any(key in line and line[key] is None for key in _LOSSES)


def _is_spike(line: Mapping[str, Any]) -> bool:
    return any("spike" in key and bool(value) for key, value in line.items())
