"""The five costs that the loss is fitted against."""

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
        is_time: whether it is a measured time; runs with noisy speed are then left out.
    """

    key: str
    column: str
    title: str
    axis: str
    per: str
    is_time: bool = False


COSTS = (
    CostAxis(
        "multiply_adds",
        "macs_forward_batch",
        "Multiply-adds, the papers’ convention",
        "multiply-adds, forward pass of one batch (lookup as one-hot)",
        "multiply-adds",
    ),
    CostAxis(
        "flops",
        "flops_forward",
        "True FLOPs",
        "true FLOPs, forward pass of one batch",
        "true FLOPs",
    ),
    CostAxis(
        "flops_non_embedding",
        "flops_forward_non_embedding",
        "Non-embedding FLOPs",
        "true FLOPs without the logits, forward pass of one batch",
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
        "wall_step_seconds",
        "Training time",
        "wall time in training steps, seconds",
        "training time",
        is_time=True,
    ),
)
