"""The five costs a loss is set against; each slope names its own."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class CostAxis:
    """One horizontal axis."""

    key: str  # File name of its figure.
    column: str  # Of runs.csv.
    title: str
    axis: str  # Axis label with unit.
    per: str  # "per tenfold ..." in a sentence.
    is_time: bool = False  # Measured: runs with noisy speed are left out.


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
