"""Checks of the data: repetitions, losses on data not seen, waiting for input."""

import math

from clinometer.tools.diagnose import finding
from clinometer.tools.diagnose import telemetry as telemetry_lib
from clinometer.tools.diagnose import thresholds
from clinometer.train.run import record as record_lib


def repeats(run: telemetry_lib.Telemetry) -> list[finding.Finding]:
    """Finds pretraining on text that goes over its data again and again.

    Args:
        run: the run.

    Raises:
        NotCheckedError: the run repeats by design, or has no counts of tokens.
    """
    record, data = run.record, run.record.data
    if record.kind != record_lib.PRETRAINING:
        raise finding.NotCheckedError(
            "only for pretraining on text; examples of tasks and images are repeated "
            "by design"
        )
    if not data.train_tokens or not data.tokens_seen or not record.metrics.step:
        raise finding.NotCheckedError(
            "not recorded: the tokens of the store and those seen"
        )
    # The record may be older than the log of a run that goes on.
    per_step = data.tokens_seen / record.metrics.step
    epochs = run.step * per_step / data.train_tokens
    if epochs <= thresholds.EPOCHS.value:
        return []
    begun = math.ceil(thresholds.EPOCHS.value * data.train_tokens / per_step)
    return [
        finding.Finding(
            check="repeats",
            step=begun,
            what="the data are repeated",
            evidence={
                "passes over the data": epochs,
                "tokens of the store": data.train_tokens,
                "tokens drawn": round(run.step * per_step),
            },
            threshold=str(thresholds.EPOCHS),
            advice="a larger token store, or fewer steps",
        )
    ]


def validation_rise(run: telemetry_lib.Telemetry) -> list[finding.Finding]:
    """Finds a validation loss that rises while the training loss does not.

    Args:
        run: the run.

    Raises:
        NotCheckedError: the log has fewer than two evaluations.
    """
    measured = run.needed("validation/loss", 2)
    step, lowest = min(measured, key=lambda item: item[1])
    last = measured[-1][1]
    if last - lowest <= thresholds.VALIDATION_RISE.value:
        return []
    training = [v for at, v in run.series("train/loss") if at > step]
    before = [v for at, v in run.series("train/loss") if at <= step]
    if not training or not before or training[-1] > before[-1]:
        return []  # The training loss rises as well, which is another finding.
    return [
        finding.Finding(
            check="validation_rise",
            step=step,
            what="the validation loss rises while the training loss falls",
            evidence={
                "lowest validation/loss": lowest,
                "last validation/loss": last,
                "train/loss then": before[-1],
                "last train/loss": training[-1],
            },
            threshold=str(thresholds.VALIDATION_RISE),
            advice="more data, fewer steps, or model.dropout_rate; the best checkpoint "
            "is kept (checkpoint.keep_best)",
        )
    ]


def gap(run: telemetry_lib.Telemetry) -> list[finding.Finding]:
    """Finds a validation loss far above the training loss.

    Args:
        run: the run.

    Raises:
        NotCheckedError: one of them is not recorded.
    """
    training = dict(run.series("train/loss"))
    both = [
        (step, value, training[step])
        for step, value in run.series("validation/loss")
        if step in training
    ]
    metrics = run.record.metrics
    if not both and None not in (metrics.validation_loss, metrics.train_loss):
        both = [(run.step, metrics.validation_loss, metrics.train_loss)]
    if not both:
        raise finding.NotCheckedError(
            "not recorded: no step has a training loss and a validation loss"
        )
    over = [each for each in both if each[1] - each[2] > thresholds.GAP.value]
    if not over or over[-1] != both[-1]:
        return []
    return [
        finding.Finding(
            check="gap",
            step=over[0][0],
            what="the validation loss is far above the training loss",
            evidence={
                "last validation/loss": both[-1][1],
                "train/loss then": both[-1][2],
            },
            threshold=str(thresholds.GAP),
            advice="more data or fewer steps; and whether the validation documents are "
            "like the others",
        )
    ]


def waiting(run: telemetry_lib.Telemetry) -> list[finding.Finding]:
    """Finds runs that wait for their input.

    Args:
        run: the run.

    Raises:
        NotCheckedError: the wall time is not recorded, or too short.
    """
    wall = run.record.wall_seconds
    if wall.input_wait is None or wall.step is None:
        raise finding.NotCheckedError("not recorded: the wall time by activity")
    total = wall.input_wait + wall.step
    if total < thresholds.INPUT_SECONDS.value:
        raise finding.NotCheckedError(
            f"{total:.1f} s of steps so far, and it takes {thresholds.INPUT_SECONDS}"
        )
    share = wall.input_wait / total
    if share <= thresholds.INPUT_SHARE.value:
        return []
    return [
        finding.Finding(
            check="input",
            step=0,
            what="the run waits for its input",
            evidence={
                "share of the time": share,
                "seconds of waiting": wall.input_wait,
                "seconds in steps": wall.step,
            },
            threshold=str(thresholds.INPUT_SHARE),
            advice="cores that no other process uses; what the pipeline can give says "
            "`python -m clinometer.tools.input_benchmark STORE`",
        )
    ]
