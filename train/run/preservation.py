"""Which checkpoints are kept for what was measured at them."""

from collections.abc import Sequence
import dataclasses
import math

from orbax.checkpoint import checkpoint_managers


@dataclasses.dataclass(frozen=True)
class Best(checkpoint_managers.PreservationPolicy):
    """Keeps the best checkpoints by one metric, of equal ones the earliest.

    Orbax's own keeps the latest of equal ones, which is not the one that a run's record
    calls the best. A checkpoint without the metric, or with null or NaN for it, is not
    kept.

    Attributes:
        metric: its name among a checkpoint's metrics.
        mode: "min" or "max", which is best.
        count: how many are kept.
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
        """Returns for each checkpoint, oldest first, whether it is kept."""
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
