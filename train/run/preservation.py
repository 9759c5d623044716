"""Orbax preservation policy for the best checkpoints."""

from collections.abc import Sequence
import dataclasses
import math

from orbax.checkpoint import checkpoint_managers


@dataclasses.dataclass(frozen=True)
class Best(checkpoint_managers.PreservationPolicy):
    """Keeps the best checkpoints by one metric, preferring the earliest of equal ones.

    Orbax's own policy prefers the latest, which would not be the step that the run's
    record calls the best. A checkpoint is not kept if its metric is missing, null or
    NaN.

    Attributes:
        metric: name of the metric.
        mode: "min" or "max", whichever is best.
        count: number of checkpoints to keep.
    """

    metric: str
    mode: str
    count: int

    def should_preserve(
        self,
        checkpoints: Sequence[checkpoint_managers.PolicyCheckpointInfo],
        *,
        context: checkpoint_managers.PreservationContext,
    ) -> Sequence[bool]:
        """Returns whether to keep each checkpoint.

        Args:
            checkpoints: the checkpoints, oldest first.
            context: unused.
        """
        del context
        sign = 1 if self.mode == "min" else -1
        costs = {
            place: sign * value
            for place, value in enumerate(
                (checkpoint.metrics or {}).get(self.metric)
                for checkpoint in checkpoints
            )
            if isinstance(value, int | float) and not math.isnan(value)
        }
        kept = sorted(costs, key=costs.__getitem__)[: self.count]
        return [place in kept for place in range(len(checkpoints))]
