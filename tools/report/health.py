"""Warnings about runs, such as noisy speeds and loss spikes."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from clinometer.tools.report import rows as rows_lib


def warnings(
    rows: Sequence[rows_lib.Row], metrics: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[str]:
    """Returns warnings about runs that are unfinished, noisy, unstable or inconsistent.

    Args:
        rows: rows of the table of runs.
        metrics: run -> lines of its metrics.jsonl.

    Returns:
        A sentence for each warning.
    """
    found = []
    for row in rows:
        if row["status"] != "finished":
            why = f": {row['error']}" if row["error"] else ""
            found.append(
                f"{row['run']} is {row['status']} at step {row['step'] or 0} of "
                f"{row['train_steps']} and is left out of all fits{why}"
            )
        elif row["validation_loss_nats"] is None:
            found.append(
                f"{row['run']} has no validation loss and is left out of all fits"
            )
    for row in rows:
        if row["speed_noisy"]:
            found.append(
                f"{row['run']}: speed is noisy (interquartile range above 10 % of the "
                "median, or other processes on its cores); the run is left out of fits "
                "against time"
            )
    for row in rows:
        spikes = [line["step"] for line in metrics[row["run"]] if _is_spike(line)]
        if spikes:
            steps = ", ".join(map(str, spikes[:5])) + (", …" if len(spikes) > 5 else "")
            noun = "loss spike" if len(spikes) == 1 else "loss spikes"
            found.append(f"{row['run']}: {len(spikes)} {noun}, at step {steps}")
    for field, words in (
        ("train_steps", "run length"),
        ("batch_size", "batch size"),
        ("encoder_length", "encoder length"),
    ):
        values = {row[field] for row in rows if row["status"] == "finished"}
        if len(values) > 1:
            listed = ", ".join(map(str, sorted(values, key=str)))
            found.append(f"the finished runs differ in {words} ({field}): {listed}")
    return found


def _is_spike(line: Mapping[str, Any]) -> bool:
    return any("spike" in key and bool(value) for key, value in line.items())
