"""Few-shot accuracies of runs on images, beside those of their controls.

Means over the runs of a model have Student's interval, and differences between models
are paired by the order of the data, which their runs share.
"""

from collections.abc import Sequence
import dataclasses
import itertools

import numpy as np
from scipy import stats

from clinometer.tools.report import records
from clinometer.train.fewshot import names
from clinometer.train.run import recorded_config

_CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Score:
    """An accuracy of a run.

    Attributes:
        run: its name.
        model: the model's name.
        order: number of the order of its data, or None.
        kind: `names.MIXTURE` or one of `names.CONTROLS`.
        shots: number of images of each class.
        accuracy: mean over the draws, in percent.
    """

    run: str
    model: str
    order: int | None
    kind: str
    shots: int
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean accuracy of a model, or of its difference from another model.

    Attributes:
        model: the model's name.
        less: the other model; None for a mean.
        kind: as of `Score`.
        shots: number of images of each class.
        runs: number of runs, or of pairs of them.
        value: the mean, in percent.
        low: lower end of its 95 % interval; None with fewer than two runs.
        high: upper end, likewise.
    """

    model: str
    less: str | None
    kind: str
    shots: int
    runs: int
    value: float
    low: float | None
    high: float | None


def read(runs: Sequence[records.Run]) -> list[Score]:
    """Returns the newest accuracies of all finished runs on images, without sweeps.

    Args:
        runs: the runs.
    """
    found = []
    for run in runs:
        record = run.record
        if not record.finished or record.study.role == recorded_config.SWEEP:
            continue
        newest = {
            (one.mixture, task): evaluated
            for one in record.evaluations
            if one.mixture in names.TITLES
            for task, evaluated in one.tasks.items()
        }
        found += [
            Score(
                run=run.name,
                model=record.model,
                order=record.config.data.data_order,
                kind=kind,
                shots=int(task.removesuffix("-shot")),
                accuracy=evaluated.score,
            )
            for (kind, task), evaluated in newest.items()
            if evaluated.score is not None
        ]
    return found


def means(scores: Sequence[Score]) -> list[Estimate]:
    """Returns the mean accuracy of each model over its runs, by shots and kind.

    Args:
        scores: from `read`.
    """
    cells: dict[tuple[str, int, str], list[float]] = {}
    for one in scores:
        cells.setdefault((one.model, one.shots, one.kind), []).append(one.accuracy)
    order = list(names.TITLES)
    return [
        _estimate(values, model, None, kind, shots)
        for (model, shots, kind), values in sorted(
            cells.items(), key=lambda c: (c[0][0], c[0][1], order.index(c[0][2]))
        )
    ]


def differences(scores: Sequence[Score]) -> list[Estimate]:
    """Returns the differences between models with trained features, by shots.

    Args:
        scores: from `read`. Several runs of a model in one order are averaged.
    """
    cells: dict[tuple[str, int], dict[int | None, list[float]]] = {}
    for one in scores:
        if one.kind == names.MIXTURE:
            orders = cells.setdefault((one.model, one.shots), {})
            orders.setdefault(one.order, []).append(one.accuracy)
    found = []
    for (first, shots), (second, others) in itertools.combinations(sorted(cells), 2):
        shared = set(cells[first, shots]) & set(cells[second, others])
        if shots == others and first != second and shared:
            pairs = [
                np.mean(cells[second, shots][order])
                - np.mean(cells[first, shots][order])
                for order in shared
            ]
            found.append(_estimate(pairs, second, first, names.MIXTURE, shots))
    return found


def _estimate(
    values: Sequence[float], model: str, less: str | None, kind: str, shots: int
) -> Estimate:
    count, mean = len(values), float(np.mean(values))
    low = high = None
    if count > 1:
        reach = stats.t.ppf(0.5 + _CONFIDENCE / 2, count - 1)
        reach *= float(np.std(values, ddof=1)) / count**0.5
        low, high = mean - reach, mean + reach
    return Estimate(model, less, kind, shots, count, mean, low, high)
