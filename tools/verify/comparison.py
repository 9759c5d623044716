"""Compares a row of a frame of runs with what was published of a model."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from clinometer.data.mixtures import aggregates
from clinometer.tools.results import errors
from clinometer.tools.verify import references
from clinometer.tools.verify import tolerances

# The published protocol, by column; it decides whether scores should agree.
_PROTOCOL = {
    "train_steps": 2**19,
    "batch_size": 128,
    "encoder_length": 512,
    "vocab_size": 32_128,
}


@dataclasses.dataclass(frozen=True)
class Condition:
    """A condition of the run beside that of the published one.

    Attributes:
        name: column of runs.csv.
        published: the published value.
        run: the run's; None if unknown.
    """

    name: str
    published: Any
    run: Any

    @property
    def same(self) -> bool:
        """Whether they are the same."""
        return self.run == self.published


@dataclasses.dataclass(frozen=True)
class Score:
    """A score of the run beside the published one.

    Attributes:
        name: `tolerances.LOSS`, task or average.
        published: the published value.
        run: the run's; None if it has none.
        tolerance: what their difference may be.
    """

    name: str
    published: float
    run: float | None
    tolerance: tolerances.Tolerance

    @property
    def difference(self) -> float | None:
        """The run's score less the published one."""
        return None if self.run is None else self.run - self.published

    @property
    def within(self) -> bool | None:
        """Whether the difference is within the tolerance; None if unknown."""
        if self.run is None:
            return None
        # Scores are printed with as many digits as the tolerances have.
        return abs(self.difference) <= self.tolerance.value


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A run beside a published model.

    Attributes:
        run: name of the run.
        against: the published model.
        conditions: the model, its parameters and the protocol.
        scores: all published scores.
    """

    run: str
    against: references.Reference
    conditions: tuple[Condition, ...]
    scores: tuple[Score, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the published scores that the run has not."""
        return tuple(score.name for score in self.scores if score.run is None)

    @property
    def agrees(self) -> bool:
        """Whether all scores that both have are within their tolerances."""
        return all(score.within is not False for score in self.scores)

    def to_json(self) -> dict[str, Any]:
        """Returns what `--json` prints."""
        return {
            "run": self.run,
            "against": self.against.name,
            "sources": self.against.sources,
            "agrees": self.agrees,
            "missing": self.missing,
            "conditions": [
                {**dataclasses.asdict(one), "same": one.same} for one in self.conditions
            ],
            "scores": [
                {
                    "name": one.name,
                    "published": one.published,
                    "run": one.run,
                    "difference": one.difference,
                    "tolerance": one.tolerance.value,
                    "reason": one.tolerance.reason,
                    "within": one.within,
                }
                for one in self.scores
            ],
        }


def compare(row: Mapping[str, Any], against: references.Reference) -> Comparison:
    """Compares a run with a published model.

    Args:
        row: of a frame of runs, with None for missing values.
        against: the published model.

    Raises:
        ResultsError: the run has no score that was published; the message says how it
            would get one.
    """
    scores = tuple(
        Score(name, value, _of_run(row, name), tolerances.of(name, value))
        for name, value in against.values.items()
    )
    if all(score.run is None for score in scores):
        raise errors.ResultsError(
            f"{row['run']} has nothing to compare with {against.name}: no validation "
            "loss, and no score of "
            f"{', '.join(s.name for s in scores if s.name != tolerances.LOSS)}. A loss "
            "comes from a finished run, and scores from `clinometer finetune`, such as "
            "with --mixture glue_superglue_squad"
        )
    expected = {"model": against.model, "params_total": against.params, **_PROTOCOL}
    conditions = (
        Condition(name, value, row.get(name)) for name, value in expected.items()
    )
    return Comparison(row["run"], against, tuple(conditions), scores)


def _of_run(row: Mapping[str, Any], name: str) -> float | None:
    if name == tolerances.LOSS:
        return row.get(name) if row.get("left_out") is None else None
    found = row.get(f"score_{name}")
    if found is None and name in aggregates.AVERAGES:
        # Of tasks in several fine-tunings; a frame averages those of one.
        weights = aggregates.weights(name)
        own = {task: row.get(f"score_{task}") for task in weights}
        if None not in own.values():
            return sum(weight * own[task] for task, weight in weights.items())
    return found
