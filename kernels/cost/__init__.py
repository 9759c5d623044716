"""What a program costs: matmul FLOPs, counted on its jaxpr."""

from clinometer.kernels.cost.flops import UncountableError
from clinometer.kernels.cost.flops import count_flops
from clinometer.kernels.cost.flops import count_jaxpr

__all__ = ["UncountableError", "count_flops", "count_jaxpr"]
