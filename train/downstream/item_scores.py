"""The scores of a task's items, `TASK.npz`, beside its predictions `TASK.jsonl`.

An item is what a metric scores as one: an example, or a group of them. Its terms are
stored for each metric, so that a score can be resampled, and two models paired by item,
without the files and the definition of the task.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import hashlib
import json
import zlib

import numpy as np

from clinometer.data import errors as data_errors
from clinometer.data import paths
from clinometer.data.mixtures import aggregates
from clinometer.data.tasks import scores
from clinometer.data.tasks import task as task_lib
from clinometer.data.tasks import terms
from clinometer.train.downstream import crossed
from clinometer.train.run import directory as run_directory
from clinometer.train.run import npz_file

RESAMPLES = 2000
TOLERANCE = 1e-6  # Percentage points between a recorded score and its items'.


@dataclasses.dataclass(frozen=True, eq=False)
class ItemScores:
    """Scores of the items of one task.

    Attributes:
        number: the score whose items they are, in percent; as read, the task's.
        metrics: the metrics whose items are known, by name, in percent.
        digests: of the N examples, in order, uint64 [N].
    """

    number: float
    metrics: Mapping[str, scores.Score]
    digests: np.ndarray


def write(
    path: paths.PathLike,
    examples: Sequence[task_lib.Example],
    metrics: Mapping[str, float],
    averaged: Sequence[str],
) -> None:
    """Writes a file atomically; none if the items of an averaged metric are unknown.

    Args:
        path: path of the file.
        examples: the examples of the task.
        metrics: its metrics by name, in percent.
        averaged: names of the metrics that are averaged.
    """
    known = {
        name: score
        for name, score in metrics.items()
        if isinstance(score, scores.Score) and score.statistic is not None
    }
    if not set(averaged) <= set(known):
        return
    described = {
        "averaged": list(averaged),
        "statistics": {name: score.statistic for name, score in known.items()},
    }
    npz_file.write(
        path,
        description=json.dumps(described),
        digests=_digests(examples),
        **{f"terms/{name}": score.terms for name, score in known.items()},
    )


def read(path: paths.PathLike) -> ItemScores | None:
    """Reads a file; returns None if there is none, as of runs of earlier versions.

    Args:
        path: path of the file.

    Raises:
        RunError: the file cannot be read, or its content is invalid.
    """
    return npz_file.read(path, _parse, data_errors.DataError)


def _parse(file: Mapping[str, np.ndarray]) -> ItemScores:
    described = json.loads(str(file["description"]))
    metrics = {
        name: terms.rebuild(statistic, file[f"terms/{name}"])
        for name, statistic in described["statistics"].items()
    }
    number = aggregates.task_number(metrics, described["averaged"])
    return ItemScores(number, metrics, file["digests"])


def of_run(
    directory: run_directory.RunDirectory, task: str, step: int, score: float
) -> ItemScores | None:
    """Reads the items of a recorded score; None if they are not those of this score.

    Args:
        directory: the run directory of a fine-tuning.
        task: name of the task.
        step: step of the score.
        score: the recorded score, in percent.

    Raises:
        RunError: the file cannot be read, or its content is invalid.
    """
    found = read(directory.predictions.of_step(step) / f"{task}.npz")
    return found if found and abs(found.number - score) < TOLERANCE else None


def cell(
    task: str, values: Sequence[float], items: Sequence[ItemScores | None]
) -> crossed.Cell:
    """Returns the scores of several seeds of one task, paired by item.

    Tasks have different draws, since their items are independent.

    Args:
        task: name of the task.
        values: the score of each seed, in percent.
        items: their items; unless all have the same ones, the result has none.
    """
    first = items[0]
    if any(
        one is None
        or not isinstance(one.number, scores.Score)
        or not np.array_equal(one.digests, first.digests)
        for one in items
    ):
        return crossed.Cell(np.array(values, np.float64))
    seed = zlib.crc32(task.encode())
    return crossed.Cell(
        np.array(values, np.float64),
        np.stack([one.number.resample(RESAMPLES, seed) for one in items]),
        first.number.num_units,
        (task, first.digests.tobytes()),
    )


def _digests(examples: Sequence[task_lib.Example]) -> np.ndarray:
    """Returns a digest of each example, uint64 [N]."""
    found = []
    for example in examples:
        text = "\0".join((example.inputs, example.targets, str(example.group)))
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8)
        found.append(int.from_bytes(digest.digest(), "little"))
    return np.array(found, np.uint64)
