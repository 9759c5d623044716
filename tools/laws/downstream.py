"""From loss to a task's score: in two steps over its likelihood, and directly.

The two steps are a straight line from the loss to the likelihood of the right answer (a
normalised log-likelihood, in percent) and a sigmoid from there to the score. The direct
way is a sigmoid from the loss to the score. Both begin at chance, the task's majority
baseline, and end at 100 %. Which is better is for held-out error to say (`left_out`).
The signal to noise of the score stands before both.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
import pandas as pd
from scipy import stats

from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.fit import sigmoid
from clinometer.tools.fit import signal_to_noise
from clinometer.tools.laws import points as points_lib
from clinometer.tools.results import columns
from clinometer.tools.results import table


@dataclasses.dataclass(frozen=True)
class TwoSteps:
    """Loss to likelihood to score.

    Attributes:
        slope: likelihood per nat, in percent.
        intercept: likelihood at a loss of 0, in percent.
        sigmoid: likelihood to score.
    """

    slope: float
    intercept: float
    sigmoid: sigmoid.Sigmoid

    def predict(self, loss: Sequence[float] | np.ndarray) -> np.ndarray:
        """Returns the score at a loss, percent, same shape."""
        loss = np.asarray(loss, np.float64)
        return self.sigmoid.predict(self.intercept + self.slope * loss)


@dataclasses.dataclass(frozen=True)
class Direct:
    """Loss to score.

    Attributes:
        sigmoid: the loss with its sign changed, to score.
    """

    sigmoid: sigmoid.Sigmoid

    def predict(self, loss: Sequence[float] | np.ndarray) -> np.ndarray:
        """Returns the score at a loss, percent, same shape."""
        return self.sigmoid.predict(-np.asarray(loss, np.float64))


@dataclasses.dataclass(frozen=True)
class Task:
    """The laws of a task's score for one architecture.

    Attributes:
        architecture: the architecture.
        task: name of the task or average.
        points: number of points with a loss and a score.
        signal: the score's signal to noise; None with fewer than two points.
        two_steps: the law in two steps; None if there is none.
        direct: the direct law; likewise.
        reasons: why a law is missing, by its name.
    """

    architecture: str
    task: str
    points: int
    signal: signal_to_noise.Signal | None
    two_steps: TwoSteps | None
    direct: Direct | None
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)


def fit_two_steps(
    loss: Sequence[float],
    likelihood: Sequence[float],
    score: Sequence[float],
    chance: float = 0.0,
) -> TwoSteps:
    """Fits both steps by least squares.

    Args:
        loss: nats, [n].
        likelihood: of the right answers, percent, [n].
        score: percent, [n].
        chance: score of a guess, percent.

    Raises:
        FitError: see `sigmoid.fit`, or the losses do not vary.
    """
    curve = sigmoid.fit(likelihood, score, low=chance)
    if np.ptp(loss) == 0:
        raise fit_errors.FitError("the losses do not vary")
    line = stats.linregress(loss, likelihood)
    return TwoSteps(float(line.slope), float(line.intercept), curve)


def fit_direct(
    loss: Sequence[float], score: Sequence[float], chance: float = 0.0
) -> Direct:
    """Fits the direct law by least squares.

    Args:
        loss: nats, [n].
        score: percent, [n].
        chance: score of a guess, percent.

    Raises:
        FitError: see `sigmoid.fit`.
    """
    return Direct(sigmoid.fit(-np.asarray(loss, np.float64), score, low=chance))


def fit_all(frame: pd.DataFrame, mixed: Sequence[str] = ()) -> list[Task]:
    """Fits the laws of every architecture and task.

    Args:
        frame: a frame of runs.
        mixed: columns of `fit/comparable.py` in which the runs may differ.

    Raises:
        FitError: the runs differ in another condition.
    """
    table.check_comparable(frame, mixed)
    names = columns.tasks(frame.columns)
    found = points_of(frame, names)
    return [
        _task(found, architecture, task)
        for architecture in found.architectures
        for task in names
    ]


def points_of(frame: pd.DataFrame, tasks: Sequence[str]) -> points_lib.Points:
    """Returns the points with the columns that the laws of these tasks need."""
    prefixes = ("score", "likelihood", "majority")
    names = [f"{prefix}_{task}" for task in tasks for prefix in prefixes]
    return points_lib.of_frame(frame, (points_lib.LOSS, *names))


def chance_of(points: Sequence[points_lib.Point], task: str) -> float:
    """Returns a task's majority baseline in percent; 0 if it is unknown."""
    known = [point.mean(f"majority_{task}") for point in points]
    known = [value for value in known if value is not None]
    return known[0] if known else 0.0


def _task(found: points_lib.Points, architecture: str, task: str) -> Task:
    score, likelihood = f"score_{task}", f"likelihood_{task}"
    points = found.of(architecture, points_lib.LOSS, score)
    loss = [point.values[points_lib.LOSS].mean for point in points]
    scores = [point.values[score].mean for point in points]
    chance = chance_of(points, task)
    reasons: dict[str, str] = {}
    signal = two_steps = direct = None
    try:
        signal = signal_to_noise.measure(
            scores, [point.error(score) for point in points], found.degrees[score]
        )
        direct = fit_direct(loss, scores, chance)
    except fit_errors.FitError as error:
        reasons["direct"] = str(error)
    both = [point for point in points if likelihood in point.values]
    try:
        two_steps = fit_two_steps(
            [point.values[points_lib.LOSS].mean for point in both],
            [point.values[likelihood].mean for point in both],
            [point.values[score].mean for point in both],
            chance,
        )
    except fit_errors.FitError as error:
        missing = "the likelihood of the right answers was not scored"
        reasons["two steps"] = str(error) if both else missing
    return Task(architecture, task, len(points), signal, two_steps, direct, reasons)
