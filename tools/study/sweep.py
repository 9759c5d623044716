"""The sweeps of `clinometer study --tune`: which runs are next, and the table's entry.

A sweep's runs are ordinary runs in OUT/sweep/runs. What to run next follows from those
that are there, so that the same command continues an interrupted sweep.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
import pathlib
from typing import Any

from clinometer.kernels import terminal
from clinometer.tools.report import records
from clinometer.tools.study import errors
from clinometer.tools.study import plan
from clinometer.tools.study import shapes
from clinometer.tools.study.tuning import ladder as ladder_lib
from clinometer.tools.study.tuning import optimum
from clinometer.tools.study.tuning import table as table_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import recorded_config

FOLDER = "sweep"
# No study uses this seed for its final runs; `run_rates` refuses it.
SEED = 1_000_000


@dataclasses.dataclass(frozen=True)
class Ladder:
    """The sizes of one architecture that are tuned together.

    Attributes:
        architecture: its name.
        layers: numbers of encoder and decoder layers, which all sizes share.
        models: width -> the model's name.
    """

    architecture: str
    layers: tuple[int, int]
    models: Mapping[int, str]


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far the sweep of a ladder has come.

    Attributes:
        tuning: what follows from its runs so far.
        missing: the runs to make next.
        runs: all runs that the sweep has asked for so far.
    """

    tuning: ladder_lib.Tuning
    missing: tuple[plan.PlannedRun, ...]
    runs: tuple[plan.PlannedRun, ...]


def ladders(models: Iterable[str]) -> list[Ladder]:
    """Groups models by architecture and number of layers.

    Args:
        models: canonical names; of two with one width, the first is swept.
    """
    found: dict[tuple[str, tuple[int, int]], dict[int, str]] = {}
    for model in models:
        shape = shapes.of(model)
        mine = found.setdefault((shape.architecture, shape.layers), {})
        mine.setdefault(shape.width, model)
    return [Ladder(*key, models) for key, models in found.items()]


def run_of(model: str, rate: float) -> plan.PlannedRun:
    """Returns the run of a model with a rate."""
    return plan.PlannedRun(
        model, SEED, pass_number=None, role=recorded_config.SWEEP, learning_rate=rate
    )


def standing(ladder: Ladder, out: pathlib.Path) -> Progress:
    """Returns how far a sweep has come, from the runs that are over.

    Args:
        ladder: the ladder.
        out: the study's folder.

    Raises:
        RecordError: a record cannot be read.
    """
    losses: dict[int, dict[float, float]] = {}
    asked: list[plan.PlannedRun] = []
    while True:
        tuning = ladder_lib.tune(list(ladder.models), losses)
        waiting = []
        for width, rate in tuning.missing:
            run = run_of(ladder.models[width], rate)
            asked.append(run)
            loss = _loss(folder_of(out, run))
            if loss is None:
                waiting.append(run)
            else:
                losses.setdefault(width, {})[rate] = loss
        if waiting or not tuning.missing:
            return Progress(tuning, tuple(waiting), tuple(asked))


def folder_of(out: pathlib.Path, run: plan.PlannedRun) -> pathlib.Path:
    """Returns the directory of a sweep's run."""
    return out / FOLDER / "runs" / run.name


def entry(
    ladder: Ladder,
    progress: Progress,
    settings: Mapping[str, Any],
    out: pathlib.Path,
) -> table_lib.Entry:
    """Returns the table's entry for a sweep that is complete.

    Args:
        ladder: the ladder.
        progress: of its sweep.
        settings: config key -> value of the protocol, without the rate.
        out: the study's folder.

    Raises:
        StudyError: every run of a size diverged.
    """
    tuning = progress.tuning
    for width in ladder_lib.never_trained(tuning):
        raise errors.StudyError(
            f"{ladder.models[width]}: every run of the sweep diverged; it has no "
            "learning rate"
        )
    parabolas, check = tuning.parabolas, tuning.check
    assert parabolas is not None  # It is complete.
    latest = records.read_record(
        run_directory.RunDirectory(folder_of(out, progress.runs[-1]))
    )
    return table_lib.Entry(
        architecture=ladder.architecture,
        layers=ladder.layers,
        settings=dict(settings),
        corpus_hash=str(latest.data.hash),
        vocabulary_sha256=latest.data.vocabulary_sha256 or "",
        seed=SEED,
        curvature=parabolas.curvature,
        curvature_error=_finite(parabolas.curvature_error),
        spread=parabolas.spread,
        sizes=[
            _size(width, ladder.models[width], tuning.sweeps[width], found)
            for width, found in sorted(tuning.optima.items())
        ],
        check=check
        and table_lib.Check(
            width=check.width,
            rate=check.rate,
            above=_finite(check.above),
            below=_finite(check.below),
            offset=check.result.offset,
            offset_error=check.result.offset_error,
            passed=check.result.passed,
        ),
        measured={
            "runs": len(progress.runs),
            "finished_at": latest.updated_at,
            "host_cpu": latest.device.host_cpu,
            "threads": latest.device.threads,
            "git_revision": latest.git_revision,
            "versions": dict(latest.versions),
        },
    )


def render(entries: Sequence[table_lib.Entry]) -> str:
    """Returns the tuned rates and the checks as text."""
    head = ("architecture", "width", "rate", "lowest at", "loss", "remarks")
    rows = []
    for made in entries:
        for size in made.sizes:
            best = min(
                (point for point in size.losses if point.loss is not None),
                key=lambda point: (point.loss, point.rate),
            )
            told = "; ".join(size.remarks)
            rows.append(
                (
                    made.architecture,
                    str(size.width),
                    f"{size.rate:.4g}",
                    f"{best.rate:.4g}",
                    f"{best.loss:.4f}",
                    told,
                )
            )
    lines = terminal.table(rows, head)
    for made in entries:
        if made.check is not None:
            lines.append(f"{made.architecture}: {_check_text(made.check)}")
    return "\n".join(lines)


def _check_text(check: table_lib.Check) -> str:
    ended = "the line holds" if check.passed else "swept, too"
    place = f"at width {check.width}"
    if check.offset is None or check.offset_error is None:
        return f"the check {place} cannot tell the distance to the optimum: {ended}"
    return (
        f"{place} ln(rate) is {check.offset:+.2f} +- {check.offset_error:.2f} from the "
        f"optimum: {ended}"
    )


def _size(
    width: int, model: str, losses: Mapping[float, float], found: optimum.Optimum
) -> table_lib.Size:
    return table_lib.Size(
        width=width,
        model=model,
        rate=found.rate,
        losses=[
            table_lib.Point(rate=rate, loss=_finite(loss))
            for rate, loss in sorted(losses.items())
        ],
        interior=found.interior,
        vertex=found.vertex,
        cliff=found.cliff,
        remarks=list(found.remarks),
    )


def _loss(run: pathlib.Path) -> float | None:
    """Returns the loss of a run that is over, infinite if it diverged; else None."""
    directory = run_directory.RunDirectory(run)
    if not directory.has_record:
        return None
    record = records.read_record(directory)
    if record.diverged:
        return math.inf
    return record.metrics.validation_loss if record.finished else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
