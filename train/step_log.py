"""Aggregates the metrics of single steps into the records of the log.

The records depend only on the step: averages start at absolute multiples of
`log.every_steps`, spikes are found by comparison with the logged losses, and a
checkpoint holds the sums since the last record. A resumed run therefore writes the same
records as an uninterrupted one.
"""

import collections
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
from typing import Any

from clinometer.train import health
from clinometer.train import state as state_lib


@dataclasses.dataclass
class _Sums:
    """Sums over the steps since the last record, as Python floats (float64)."""

    loss: float = 0.0
    z_loss: float = 0.0
    tokens: float = 0.0
    correct: float = 0.0
    auxiliary_loss: float = 0.0
    steps: int = 0


class StepLog:
    """Aggregates step metrics and returns a record when one is due."""

    def __init__(
        self,
        *,
        every_steps: int,
        last_step: int,
        health_every_steps: int,
        health_groups: Sequence[str],
        spike_window: int,
        spike_threshold: float,
        losses: Sequence[float] = (),
        pending: Mapping[str, Any] | None = None,
    ):
        """Starts a new log, or continues that of a checkpoint.

        Args:
            every_steps: number of steps between records.
            last_step: last step of the run, which also gets a record.
            health_every_steps: number of steps between health measurements; 0 disables
                them.
            health_groups: from `health.groups`.
            spike_window: number of logged losses that a new one is compared with.
            spike_threshold: see `health.is_spike`.
            losses: `train/loss` of the records so far, oldest first.
            pending: `pending` of an earlier log, from the checkpoint; None for none.
        """
        self._every_steps = every_steps
        self._last_step = last_step
        self._health_every_steps = health_every_steps
        self._health_groups = health_groups
        self._spike_threshold = spike_threshold
        self._losses = collections.deque(losses, maxlen=spike_window)
        self._sums = _Sums(**(pending or {}))

    @property
    def pending(self) -> dict[str, Any]:
        """Sums since the last record, ready for JSON."""
        return dataclasses.asdict(self._sums)

    def add(self, step: int, values: state_lib.StepMetrics) -> dict[str, Any] | None:
        """Adds the metrics of one step.

        Args:
            step: number of completed steps, this one included.
            values: the metrics of the step, on the host.

        Returns:
            The record of this step, or None if none is due. Losses are means since the
            last record, in nats per token that is not padding. Health metrics are lists
            if there is one value per layer or expert.
        """
        sums, loss = self._sums, values.loss
        sums.loss += float(loss.loss_sum)
        sums.z_loss += float(loss.z_loss_sum)
        sums.tokens += float(loss.weight_sum)
        sums.correct += float(loss.correct_sum)
        sums.auxiliary_loss += float(values.auxiliary_loss)
        sums.steps += 1
        record: dict[str, Any] = {}
        if step % self._every_steps == 0 or step == self._last_step:
            tokens = max(sums.tokens, 1.0)
            record = {
                "train/loss": sums.loss / tokens,
                "train/z_loss": sums.z_loss / tokens,
                "train/auxiliary_loss": sums.auxiliary_loss / sums.steps,
                "train/accuracy": sums.correct / tokens,
                "train/tokens_per_step": sums.tokens / sums.steps,
                "train/learning_rate": float(values.learning_rate),
                "train/gradient_rms": float(values.gradient_rms),
            }
            record["train/loss_spike"] = health.is_spike(
                record["train/loss"], self._losses, self._spike_threshold
            )
            self._losses.append(record["train/loss"])
            self._sums = _Sums()
        if self._health_every_steps and step % self._health_every_steps == 0:
            record.update(health.named(self._health_groups, values.health))
            record.update(
                (f"health/{name}", value.tolist())
                for name, value in values.model_health.items()
            )
        return record or None


def nonfinite(values: state_lib.StepMetrics) -> str | None:
    """Describes which metric of a step is NaN or infinite.

    Args:
        values: the metrics of the step, on the host.

    Returns:
        A message such as "the loss is nan", or None if all are finite.
    """
    sums = values.loss
    loss = float(sums.loss_sum + sums.z_loss_sum + values.auxiliary_loss)
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not math.isfinite(values.gradient_rms):
        return f"the gradient's RMS is {float(values.gradient_rms)}"
    return None
