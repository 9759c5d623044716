"""The passes of a study, and which of them are complete.

Pass k trains the k-th replicate of every size that has one. A study that is stopped
early uses the passes that are complete, so that the stop cannot depend on a loss.
"""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib

from clinometer.tools.report import records
from clinometer.tools.study import folder
from clinometer.tools.study import plan
from clinometer.train.run import directory as run_directory


@dataclasses.dataclass(frozen=True)
class Passes:
    """How far a study has come.

    Attributes:
        complete: number of passes, from the first, whose runs are all over.
        planned: number of passes of the study.
        diverged: names of the runs that diverged, which count as over.
    """

    complete: int
    planned: int
    diverged: tuple[str, ...]

    @property
    def told(self) -> str:
        """A sentence about the passes."""
        lost = ""
        if self.diverged:
            lost = f"; diverged, without a result: {', '.join(self.diverged)}"
        return f"complete passes: {self.complete} of {self.planned}{lost}"


def split(runs: Sequence[plan.PlannedRun]) -> list[list[plan.PlannedRun]]:
    """Returns the runs of each pass, in the order of the passes."""
    numbers = sorted({run.pass_number or 1 for run in runs})
    return [[r for r in runs if (r.pass_number or 1) == n] for n in numbers]


def standing(
    planned: Mapping[str, int], over: Collection[str], diverged: Collection[str]
) -> Passes:
    """Returns which passes are complete.

    Args:
        planned: name -> pass of all runs of the study.
        over: names of the runs that finished.
        diverged: names of the runs that diverged.
    """
    ended = {*over, *diverged}
    waiting = [number for name, number in planned.items() if name not in ended]
    numbers = sorted(set(planned.values()))
    complete = [n for n in numbers if not waiting or n < min(waiting)]
    return Passes(
        complete=max(complete, default=0),
        planned=len(numbers),
        diverged=tuple(sorted(set(planned) & set(diverged))),
    )


def of_folder(out: pathlib.Path) -> Passes:
    """Returns which passes of a study's folder are complete.

    Args:
        out: the folder, with a study.json that lists the planned runs.

    Raises:
        StudyError: study.json cannot be read.
        RecordError: a record cannot be read.
    """
    planned = folder.planned(out)
    over, diverged = [], []
    for name in planned:
        directory = run_directory.RunDirectory(out / "runs" / name)
        if not directory.has_record:
            continue
        record = records.read_record(directory)
        if record.finished:
            over.append(name)
        elif record.diverged:
            diverged.append(name)
    return standing(planned, over, diverged)
