"""The runs that a claim is judged by."""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from clinometer.kernels.options.errors import did_you_mean
from clinometer.tools.inference import design as design_lib
from clinometer.tools.study.claims import errors


class UndecidableError(Exception):
    """Raised where the runs cannot decide a claim; the message says why."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A final run.

    Attributes:
        name: its name.
        architecture: its architecture.
        width: d_model; None if this version does not know the model.
        order: number of the order of the data, or None.
        seed: its seed.
        diverged: whether it was stopped because its loss was NaN or infinite.
        values: metric -> value: the numeric columns of runs.csv, None if missing.
        inference: the run as inference needs it, or None.
    """

    name: str
    architecture: str
    width: int | None
    order: int | None
    seed: int
    diverged: bool
    values: Mapping[str, Any]
    inference: design_lib.Run | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """A list of runs.

    Attributes:
        runs: the runs.
        parts: name -> a part of the study, whose runs are not among `runs`.
    """

    runs: Sequence[Run]
    parts: Mapping[str, "Part"] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        """Returns the number of runs, those that diverged included."""
        return len(self.runs)

    @property
    def architectures(self) -> list[str]:
        """The architectures that occur, sorted."""
        return sorted({run.architecture for run in self.runs})

    @property
    def widths(self) -> list[int]:
        """The widths that occur, from small to large."""
        return sorted({run.width for run in self.runs if run.width is not None})

    def select(self, **fields: Any) -> "Runs":
        """Returns the runs with these values of `Run`'s fields.

        Args:
            **fields: such as `architecture="transformer", width=16`.
        """
        return self._with(
            [
                run
                for run in self.runs
                if all(getattr(run, name) == value for name, value in fields.items())
            ]
        )

    def without_diverged(self) -> "Runs":
        """Returns the runs of the architectures none of whose runs diverged."""
        lost = {run.architecture for run in self.runs if run.diverged}
        return self._with([run for run in self.runs if run.architecture not in lost])

    def part(self, name: str, differs: Collection[str]) -> "Runs":
        """Returns the runs of a part of the study.

        Args:
            name: its folder's name.
            differs: the conditions, columns of `fit/comparable.py`, in which its runs
                may differ from those of the study; in one at least they must, unless
                it is empty.

        Raises:
            UndecidableError: no pass of the part is complete, or its runs differ from
                those of the study in other conditions.
        """
        part = self.parts.get(name)
        if part is None or not part.runs.runs:
            raise UndecidableError(f"the part {name} has no complete pass")
        wrong = sorted(part.differs - set(differs))
        if wrong:
            raise UndecidableError(
                f"the runs of the part {name} differ from the study's in "
                f"{', '.join(wrong)}"
            )
        if differs and not part.differs:
            raise UndecidableError(
                f"the runs of the part {name} do not differ from the study's in any of "
                f"{', '.join(differs)}"
            )
        return part.runs

    def _with(self, runs: Sequence[Run]) -> "Runs":
        return dataclasses.replace(self, runs=runs)

    def design(self) -> tuple[design_lib.Design, np.ndarray]:
        """Returns the runs as a design and its losses, for `tools/inference`.

        Raises:
            UndecidableError: there are no runs, or one diverged or lacks its loss,
                width or training FLOPs.
            InferenceError: see `inference.design.from_runs`.
        """
        for metric in ("validation_loss_nats", "training_flops", "d_model"):
            self.column(metric)
        return design_lib.from_runs([run.inference for run in self.runs])

    def column(self, metric: str) -> list[float]:
        """Returns a metric of all runs, in the order of `runs`.

        Args:
            metric: a numeric column of runs.csv, such as "validation_loss_nats".

        Raises:
            ClaimsError: there is no such metric.
            UndecidableError: there are no runs, or one diverged or lacks the value.
        """
        if not self.runs:
            raise UndecidableError("there are no finished runs of this kind")
        known = self.runs[0].values
        if metric not in known:
            raise errors.ClaimsError(
                f"unknown metric {metric!r}{did_you_mean(metric, known)}; accepted: "
                "the numeric columns of runs.csv"
            )
        lost = [run.name for run in self.runs if run.diverged]
        if lost:
            raise UndecidableError(f"{', '.join(lost)} diverged")
        missing = [run.name for run in self.runs if run.values.get(metric) is None]
        if missing:
            raise UndecidableError(f"{', '.join(missing)}: no {metric}")
        return [float(run.values[metric]) for run in self.runs]


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a study: some of its models under another condition.

    Attributes:
        runs: its final runs of its complete passes.
        differs: columns of `fit/comparable.py` in which they differ from the study's.
    """

    runs: Runs
    differs: frozenset[str]
