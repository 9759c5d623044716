"""How far a run has come, from its directory alone."""

import dataclasses
import pathlib

from clinometer.tools.study.engines import policy
from clinometer.tools.study.engines import tries as tries_lib
from clinometer.train import errors
from clinometer.train.run import directory as run_directory
from clinometer.train.run import lease
from clinometer.train.run import record as record_lib

# In the order in which `clinometer status` lists them.
STATUSES = (
    "running",
    "starting",
    "silent",
    "lost",
    "stopped",
    "failed",
    "diverged",
    "unreadable",
    "waiting",
    "finished",
)
OVER = frozenset({"finished", "failed", "diverged", "unreadable"})


@dataclasses.dataclass(frozen=True)
class Overview:
    """How far a run has come.

    Attributes:
        status: one of `STATUSES`. A run is silent if its process gives no sign of life,
            and lost if the process has ended without saying how.
        step: the last logged step.
        steps: number of steps of the run, or None if unknown.
        loss: the last logged training loss, in nats per token.
        validation_loss: the latest, in nats per token.
        steps_per_second: by the log while it trains, and then the median.
        tries: number of starts by studies.
        node: the machine on which it trains, or None.
        error: what ended it, or why its record cannot be read; or None.
    """

    status: str
    step: int = 0
    steps: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    steps_per_second: float | None = None
    tries: int = 0
    node: str | None = None
    error: str | None = None

    @property
    def seconds_left(self) -> float | None:
        """Seconds to its last step at this speed; None if it does not train."""
        if self.status != "running" or self.steps is None or not self.steps_per_second:
            return None
        return (self.steps - self.step) / self.steps_per_second


def of_run(run: pathlib.Path) -> Overview:
    """Reads how far a run has come; never fails.

    Args:
        run: the run directory, which need not exist.
    """
    directory = run_directory.RunDirectory(run)
    tries = tries_lib.read(run)
    try:
        record = directory.record() if directory.has_record else None
    except errors.RunError as error:
        return Overview("unreadable", tries=len(tries), error=str(error))
    if record is not None and record.finished:
        return dataclasses.replace(_recorded(record), tries=len(tries))
    holder = lease.last_holder(run)
    status = _status(record, holder, tries)
    known = Overview("waiting") if record is None else _recorded(record)
    logged = directory.metrics.read_end()
    return dataclasses.replace(
        known,
        status=status,
        step=logged[-1]["step"] if logged else known.step,
        loss=_last(logged, "train/loss", known.loss),
        validation_loss=_last(logged, "validation/loss", known.validation_loss),
        steps_per_second=_last(
            logged, "wall/steps_per_second", known.steps_per_second
        ),
        tries=len(tries),
        node=holder.host if holder and holder.seems_alive else None,
    )


def _recorded(record: record_lib.Record) -> Overview:
    return Overview(
        status="diverged" if record.diverged else record.status,
        step=record.metrics.step or 0,
        steps=record.config.train_steps,
        loss=record.metrics.train_loss,
        validation_loss=record.metrics.validation_loss,
        steps_per_second=record.speed.steps_per_second_median,
        error=record.error,
    )


def _status(
    record: record_lib.Record | None,
    holder: lease.Holder | None,
    tries: list[tries_lib.Try],
) -> str:
    """Returns the status of a run that is not finished."""
    trains = record is not None and record.status == "running"
    if holder is not None and holder.seems_alive:
        return "running" if trains else "starting"
    if trains:
        return "lost" if holder is None or holder.released else "silent"
    if record is not None:
        return "diverged" if record.diverged else record.status
    if tries and tries[-1].ended_at is None:
        return "starting"
    if tries and policy.after(tries[-1].code, 0) is policy.Next.FAIL:
        return "failed"
    return "waiting"


def _last(lines: list[dict], name: str, otherwise: float | None) -> float | None:
    values = [value for line in lines if (value := line.get(name)) is not None]
    return values[-1] if values else otherwise
