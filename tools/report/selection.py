"""Which runs fits of the loss may use, and why the others are left out."""

from collections.abc import Sequence

from clinometer.tools.report import copies
from clinometer.tools.report import rows as rows_lib
from clinometer.train.run import record as run_record
from clinometer.train.run import recorded_config


def usable(rows: Sequence[rows_lib.Row]) -> list[rows_lib.Row]:
    """Returns the rows of the runs that a fit of the loss may use.

    They are finished, have a finite validation loss, repeat no other run and are no
    sweep runs. Pilot runs are used only where there are no others, and runs on images
    only where there are none on texts, as their losses cannot be compared.
    """
    return [row for row in rows if why_left_out(row, rows) is None]


def is_of_images(row: rows_lib.Row) -> bool:
    """Returns whether a run was trained on images."""
    return row.get("kind") == run_record.CLASSIFICATION


def unit(rows: Sequence[rows_lib.Row]) -> str:
    """Returns what a loss is the mean over: "token", or "image" of runs on images."""
    return "image" if rows and all(map(is_of_images, rows)) else "token"


def all_are_pilots(rows: Sequence[rows_lib.Row]) -> bool:
    """Returns whether all runs are pilot runs."""
    return all(row["role"] == recorded_config.PILOT for row in rows)


def why_left_out(row: rows_lib.Row, rows: Sequence[rows_lib.Row]) -> str | None:
    """Returns why a run stands in no fit of the loss; None if it may.

    Args:
        row: the run's row.
        rows: all rows of the table of runs.
    """
    if is_of_images(row) and not all(map(is_of_images, rows)):
        return "a run on images, which enters no fit of runs on texts"
    if row["role"] == recorded_config.SWEEP:
        return "a run of a sweep of learning rates, which enters no fit"
    if row["role"] == recorded_config.PILOT and not all_are_pilots(rows):
        return "a pilot run, which enters no fit of other runs"
    if row["status"] != "finished":
        return f"{row['status']} at step {row['step'] or 0} of {row['train_steps']}"
    if row["validation_loss_nats"] is None:
        return "no finite validation loss"
    if row["copy_of"] is not None:
        (kept,) = (other for other in rows if other["run"] == row["copy_of"])
        return copies.describe(row, kept)
    return None
