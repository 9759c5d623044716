"""The study that a run belongs to, and the line of its architecture there."""

import dataclasses
import pathlib

from clinometer.tools.report import build
from clinometer.tools.study import folder

_COST = "training_flops"
_LEVELS = 3  # A study's runs are at most so many folders below it.


@dataclasses.dataclass(frozen=True)
class StudyLine:
    """What a study says about the architecture of a run.

    Attributes:
        name: name of the study's folder.
        text: a sentence with the slope, or why there is none.
    """

    name: str
    text: str


def find(run: pathlib.Path, architecture: str) -> StudyLine | None:
    """Returns the line of the study that a run is in, or None if it is in none.

    Args:
        run: the run directory.
        architecture: its architecture, such as "transformer".
    """
    for parent in run.resolve().parents[:_LEVELS]:
        if (parent / folder.SETTINGS).is_file():
            return StudyLine(parent.name, _text(parent, architecture))
    return None


def _text(study: pathlib.Path, architecture: str) -> str:
    try:
        fits = build.read(study).fits
    except (ValueError, OSError) as error:  # All errors of a report are ValueErrors.
        return f"No slope could be fitted: {error}."
    for fit in fits:
        if fit.cost.key != _COST or fit.architecture != architecture:
            continue
        if fit.slope is None:
            break
        interval = ""
        if fit.line is not None:
            low, high = fit.line.low, fit.line.high
            interval = f" (95 % interval {low:.3f} to {high:.3f})"
        return (
            f"Its {len(fit.points)} sizes of `{architecture}` gain {fit.slope:.3f} "
            f"nats per token from ten times the training FLOPs{interval}, by a "
            "straight line."
        )
    return f"It has too few finished runs of `{architecture}` for a slope."
