"""From the values of single steps to the records of the log.

What is recorded depends on the step alone: means start at absolute multiples of the
log's cadence, spikes compare with the recorded losses, and what is between two records
goes into the checkpoint. A resumed run therefore writes what an uninterrupted one does.
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
    """Sums over the steps since the last record, in Python's float64."""

    loss: float = 0.0
    z_loss: float = 0.0
    tokens: float = 0.0
    correct: float = 0.0
    auxiliary_loss: float = 0.0
    steps: int = 0


class StepLog:
    """Gathers steps and returns a record when one is due."""

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
        """Starts, or goes on.

        Args:
            every_steps: steps between two records.
            last_step: of the run; has a record too.
            health_every_steps: steps between two measurements of health; 0 never.
            health_groups: their groups.
            spike_window: recorded losses that a new one is compared with.
            spike_threshold: see `health.is_spike`.
            losses: `train/loss` of the records so far.
            pending: of the checkpoint.
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
        """What has been gathered since the last record, ready for JSON."""
        return dataclasses.asdict(self._sums)

    def add(self, step: int, values: state_lib.StepMetrics) -> dict[str, Any] | None:
        """Adds the values of the step that made `step` steps done.

        Args:
            step: steps done.
            values: on the host.

        Returns:
            The record of this step, if one is due: means per token that is not padding,
            in nats, over the steps since the last record; and health, as lists where
            a layer or an expert has a value of its own.
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
    """Returns what is NaN or infinite in a step, in words, or None."""
    sums = values.loss
    loss = float(sums.loss_sum + sums.z_loss_sum + values.auxiliary_loss)
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not math.isfinite(values.gradient_rms):
        return f"the gradient's RMS is {float(values.gradient_rms)}"
    return None
