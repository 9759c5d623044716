"""FLOPs of the matrix products in a program, counted on its jaxpr."""

from clinometer.kernels.cost.flops import UncountableError
from clinometer.kernels.cost.flops import count_flops
from clinometer.kernels.cost.flops import count_jaxpr

__all__ = ["UncountableError", "count_flops", "count_jaxpr"]
