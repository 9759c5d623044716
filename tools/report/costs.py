"""The costs that the loss is fitted against; the first is the primary one.

All are those of the run's own lengths, except the papers' multiply-adds, which count a
decoder of 128 whatever the run's.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class CostAxis:
    """A cost, the horizontal axis of a figure.

    Attributes:
        key: file name of its figure, without extension.
        column: its column in runs.csv.
        title: heading of its figure.
        axis: axis label with the unit.
        per: its name in a sentence, as in "per 10x multiply-adds".
        is_time: whether it is a measured time; runs with a noisy speed, or one measured
            beside other work, are then left out.
    """

    key: str
    column: str
    title: str
    axis: str
    per: str
    is_time: bool = False


COSTS = (
    CostAxis(
        "training_flops",
        "training_flops",
        "Total training FLOPs",
        "training FLOPs of the whole run",
        "training FLOPs",
    ),
    CostAxis(
        "flops",
        "flops_forward",
        "Forward FLOPs",
        "FLOPs, forward pass of one batch",
        "forward FLOPs",
    ),
    CostAxis(
        "flops_non_embedding",
        "flops_forward_non_embedding",
        "Non-embedding FLOPs",
        "FLOPs without the logits, forward pass of one batch",
        "non-embedding FLOPs",
    ),
    CostAxis(
        "parameters",
        "params_total",
        "Parameters",
        "parameters, embeddings included",
        "parameters",
    ),
    CostAxis(
        "time",
        "training_seconds",
        "Training time",
        "training steps over their median rate, seconds",
        "training time",
        is_time=True,
    ),
    CostAxis(
        "multiply_adds",
        "papers_macs_forward_batch",
        "Multiply-adds, the papers’ way",
        "papers’ multiply-adds of one batch (decoder of 128, lookup as one-hot)",
        "multiply-adds in the papers’ convention",
    ),
)
