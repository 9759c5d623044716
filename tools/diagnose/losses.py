"""Checks of the loss: values that are not finite, spikes, rises, nothing learned."""

from collections.abc import Sequence
import itertools
import math
import re
import statistics

from clinometer.tools.diagnose import finding
from clinometer.tools.diagnose import telemetry as telemetry_lib
from clinometer.tools.diagnose import thresholds

_LOSS = "train/loss"
_SPIKE = "train/loss_spike"
# The trainer compares with three losses and eight rises; see `health.is_spike`.
_FEWEST_FOR_SPIKES = 12
# A level is the median of this many losses.
_LEVEL = 3
_FEWEST_FOR_RISES = 2 * _LEVEL
_LOWER_RATE = (
    "a lower schedule.learning_rate, a longer warmup, or going on from a checkpoint "
    "before this step with another data.order"
)


def not_finite(run: telemetry_lib.Telemetry) -> list[finding.Finding]:
    """Finds losses and gradients that are NaN or infinite.

    Args:
        run: the run.
    """
    lost = next(run.not_finite(), None)
    if run.record.diverged:
        said = re.search(r"step (\d+)", run.record.error or "")
        step = int(said[1]) if said else run.step + 1
        evidence = {"error": run.record.error}
    elif lost is not None:
        step, evidence = lost[0], {"field": lost[1]}
    else:
        return []
    before = [loss for at, loss in run.series(_LOSS) if at < step]
    if before:
        evidence["last train/loss"] = before[-1]
    evidence["schedule.learning_rate"] = run.record.config.schedule.learning_rate
    return [
        finding.Finding(
            check="not_finite",
            step=step,
            what="the loss or the gradient became NaN or infinite",
            evidence=evidence,
            threshold=None,
            advice=_LOWER_RATE,
        )
    ]


def spikes(run: telemetry_lib.Telemetry) -> list[finding.Finding]:
    """Finds the spikes that the trainer marked, and says whether the loss came back.

    Args:
        run: the run.

    Raises:
        NotCheckedError: the log has too few losses, or no marks.
    """
    losses = run.needed(_LOSS, _FEWEST_FOR_SPIKES)
    marked = {step for step, is_spike in run.needed(_SPIKE) if is_spike}
    scatters = run.config.get("log.spike_threshold")
    found, over = [], -1
    for place, (step, _) in enumerate(losses):
        if step not in marked or place <= over:
            continue
        before = statistics.median(v for _, v in losses[max(0, place - _LEVEL) : place])
        back, peak = _recovery(losses, place, before)
        over = len(losses) if back is None else back
        if back is not None:
            end = f"it had come back at step {losses[back][0]}"
        elif len(losses) - place > _LEVEL:
            end = "it did not come back"
        else:
            end = "the log ends before it could come back"
        found.append(
            finding.Finding(
                check="loss_spike",
                step=step,
                what=f"the training loss jumped; {end}",
                evidence={
                    "loss before": before,
                    "highest loss": peak,
                    "recovered": back is not None,
                    "last loss": losses[-1][1],
                },
                threshold=f"a rise of {scatters} scatters of the earlier losses around "
                "their trend (config.log.spike_threshold), and "
                f"{thresholds.SPIKE_RECOVERED}",
                advice="nothing, if it is the only one"
                if back is not None
                else _LOWER_RATE,
            )
        )
    return found


def rise(run: telemetry_lib.Telemetry) -> list[finding.Finding]:
    """Finds a training loss that ends far above its lowest.

    Args:
        run: the run.

    Raises:
        NotCheckedError: the log has too few losses.
    """
    losses = run.needed(_LOSS, _FEWEST_FOR_RISES)
    values = [value for _, value in losses]
    levels = [
        statistics.median(values[i : i + _LEVEL])
        for i in range(len(values) - _LEVEL + 1)
    ]
    lowest = min(range(len(levels)), key=levels.__getitem__)
    scatter = _scatter(values)
    limit = max(thresholds.RISE.value, thresholds.RISE_SCATTERS.value * scatter)
    if levels[-1] - levels[lowest] <= limit:
        return []
    return [
        finding.Finding(
            check="loss_rise",
            step=losses[lowest + _LEVEL - 1][0],
            what="the training loss rose and stayed up",
            evidence={
                "lowest loss": levels[lowest],
                "last loss": levels[-1],
                "scatter": scatter,
            },
            threshold=f"{thresholds.RISE}; and {thresholds.RISE_SCATTERS}",
            advice=_LOWER_RATE,
        )
    ]


def learning(run: telemetry_lib.Telemetry) -> list[finding.Finding]:
    """Finds a training loss that is not below that of equal probabilities.

    Args:
        run: the run.

    Raises:
        NotCheckedError: the vocabulary or the loss is not recorded, or it is too early.
    """
    losses = run.series(_LOSS)
    if not losses and run.record.metrics.train_loss is not None:
        losses = [(run.step, run.record.metrics.train_loss)]
    vocabulary = run.record.config.model.vocab_size
    if not losses or not vocabulary or not run.train_steps:
        raise finding.NotCheckedError(
            "not recorded: the training loss, the vocabulary or the number of steps"
        )
    early = thresholds.LEARNING_FRACTION.value * run.train_steps
    if run.step < early:
        raise finding.NotCheckedError(
            f"step {run.step} is early; it is checked from step {math.ceil(early)} on "
            f"({thresholds.LEARNING_FRACTION})"
        )
    guess = math.log(vocabulary)
    if statistics.median(value for _, value in losses[-_LEVEL:]) < guess:
        return []
    above = itertools.takewhile(lambda item: item[1] >= guess, reversed(losses))
    first = min((step for step, _ in above), default=losses[-1][0])
    return [
        finding.Finding(
            check="no_learning",
            step=max(first, math.ceil(early)),
            what="the model predicts no better than equal probabilities",
            evidence={"last loss": losses[-1][1], "ln(model.vocab_size)": guess},
            threshold="ln(model.vocab_size), the loss of equal probabilities, after "
            f"{thresholds.LEARNING_FRACTION}",
            advice="another schedule.learning_rate; and whether the data are what they "
            "should be (`python -m clinometer.tools.input_benchmark STORE`)",
        )
    ]


def _recovery(
    losses: Sequence[tuple[int, float]], place: int, before: float
) -> tuple[int | None, float]:
    """Returns where the loss has come back, or None, and its highest value."""
    peak = losses[place][1]
    for later in range(place, len(losses)):
        value = losses[later][1]
        peak = max(peak, value)
        if value <= before + thresholds.SPIKE_RECOVERED.value * (peak - before):
            return later, peak
    return None, peak


def _scatter(values: Sequence[float]) -> float:
    """Returns a robust standard deviation of the losses around their trend."""
    changes = [b - a for a, b in itertools.pairwise(values)]
    middle = statistics.median(changes)
    # Of normal changes, the median deviation is 0.6745 sd; a change has two losses.
    spread = statistics.median(abs(change - middle) for change in changes)
    return spread / 0.6745 / math.sqrt(2)
