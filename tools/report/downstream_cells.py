"""Downstream scores by model: means over seeds, and differences of architectures.

The seeds of a cell are finished runs of one model under the same conditions, with
fine-tunings of the same settings. Several fine-tunings of a run are averaged; if there
is only one run, they are the seeds, and the error is that of fine-tuning this run.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from clinometer.models.architectures import registry
from clinometer.tools.fit import comparable
from clinometer.tools.report import downstream
from clinometer.tools.report import rows as rows_lib
from clinometer.train.downstream import best_scores
from clinometer.train.downstream import crossed


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """The scores of one model and one setting of the fine-tuning.

    Attributes:
        model: name of the model.
        architecture: name of the architecture.
        size: name of the size.
        mixture: mixture of the fine-tuning.
        learning_rate: of the fine-tuning.
        protocol: digest of the settings that architectures share.
        conditions: comparability key of the pretraining.
        runs: names of the pretrained runs.
        seeds: number of seeds.
        of_finetuning: whether the seeds are those of fine-tuning one run.
        scores: of tasks and averages, by metric.
        one: 95 % intervals of the evaluation's sampling; of a single seed.
    """

    model: str
    architecture: str
    size: str
    mixture: str
    learning_rate: float
    protocol: str
    conditions: str
    runs: tuple[str, ...]
    seeds: int
    of_finetuning: bool
    scores: Mapping[best_scores.Name, crossed.Cell]
    one: Mapping[best_scores.Name, tuple[float, float] | None]

    def estimate(self, name: best_scores.Name) -> crossed.Estimate:
        """Estimates the mean of a task or average over seeds.

        Args:
            name: one of `scores`.
        """
        found = crossed.mean(self.scores[name])
        if self.seeds == 1 and self.one.get(name) is not None:
            found = dataclasses.replace(found, items_interval=self.one[name])
        return found


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference of an architecture from the reference at one size.

    Attributes:
        model: name of the model.
        reference: name of the model that is subtracted.
        mixture: mixture of the fine-tuning.
        learning_rate: of the fine-tuning.
        estimates: the differences, as in `Cell.scores`; None if the examples differ.
    """

    model: str
    reference: str
    mixture: str
    learning_rate: float
    estimates: Mapping[best_scores.Name, crossed.Estimate | None]


def cells(
    scores: Sequence[downstream.FinetuningScore], rows: Sequence[rows_lib.Row]
) -> list[Cell]:
    """Groups the scores from each run's last checkpoint into cells.

    Args:
        scores: scores of all fine-tunings.
        rows: rows of the table of runs; unfinished runs and copies are left out.
    """
    scores = downstream.final(scores)
    averages = downstream.shared_averages(scores)
    row_of = {
        row["run"]: row
        for row in rows
        if row["status"] == "finished" and row["copy_of"] is None
    }
    groups: dict[tuple[Any, ...], list[downstream.FinetuningScore]] = {}
    for score in scores:
        if score.run in row_of:
            row = row_of[score.run]
            key = (*comparable.cell(row), score.settings, row["train_steps"])
            groups.setdefault(key, []).append(score)
    made = []
    for group in groups.values():
        first, row = group[0], row_of[group[0].run]
        runs = tuple(dict.fromkeys(score.run for score in group))
        by_name = {
            name: [score for score in group if score.name == name]
            for name in sorted({score.name for score in group})
        }
        found = {name: _seeds(own, runs) for name, own in by_name.items()}
        complete = {name: cell for name, cell in found.items() if cell is not None}
        seeds = max((len(cell.scores) for cell in complete.values()), default=0)
        made.append(
            Cell(
                model=first.model,
                architecture=first.architecture,
                size=first.model.partition("-")[2],
                mixture=first.mixture,
                learning_rate=first.learning_rate,
                protocol=first.protocol,
                conditions=row["comparability_key"],
                runs=runs,
                seeds=seeds,
                of_finetuning=len(runs) == 1 and seeds > 1,
                scores=_with_averages(complete, averages, seeds),
                one={name: own[0].interval for name, own in by_name.items()},
            )
        )
    return made


def differences(found: Sequence[Cell]) -> list[Difference]:
    """Returns the differences of the architectures from the reference at each size.

    Args:
        found: from `cells`.
    """
    base = {
        _place(cell): cell for cell in found if cell.architecture == registry.REFERENCE
    }
    made = []
    for cell in found:
        other = base.get(_place(cell))
        if other is None or cell.architecture == registry.REFERENCE:
            continue
        estimates = {}
        for name in cell.scores:
            if name in other.scores:
                one, two = cell.scores[name], other.scores[name]
                paired = one.items == two.items
                estimates[name] = crossed.difference(one, two) if paired else None
        made.append(
            Difference(
                cell.model, other.model, cell.mixture, cell.learning_rate, estimates
            )
        )
    return made


def _place(cell: Cell) -> tuple[str, ...]:
    """What an architecture and the reference must share to be compared."""
    return cell.size, cell.protocol, cell.conditions


def _seeds(
    own: Sequence[downstream.FinetuningScore], runs: Sequence[str]
) -> crossed.Cell | None:
    """Returns the scores of one name, a seed per run; None if a run has no score.

    The seeds of a single run are its fine-tunings.
    """
    of_run = {run: [k for k, s in enumerate(own) if s.run == run] for run in runs}
    if not all(of_run.values()):
        return None
    cell = downstream.cell(own)
    if len(runs) == 1:
        return cell
    places = list(of_run.values())
    replicates = None
    if cell.replicates is not None:
        replicates = np.stack([cell.replicates[k].mean(axis=0) for k in places])
    means = np.array([cell.scores[k].mean() for k in places])
    return dataclasses.replace(cell, scores=means, replicates=replicates)


def _with_averages(
    tasks: Mapping[best_scores.Name, crossed.Cell], averages: Sequence[str], seeds: int
) -> dict[best_scores.Name, crossed.Cell]:
    """Adds the averages of benchmarks whose tasks all have these seeds."""
    found = dict(tasks)
    for average in averages:
        weights = downstream.weights(average)
        for metric in best_scores.METRICS:
            own = [tasks.get(best_scores.Name(task, metric)) for task in weights]
            if all(cell is not None and len(cell.scores) == seeds for cell in own):
                name = best_scores.Name(average, metric)
                found[name] = crossed.average(own, list(weights.values()))
    return found
