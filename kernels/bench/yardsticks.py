"""Yardsticks measured in the same rounds as the kernels: a matmul and a copy.

They show what limits a kernel: one that runs at the rate of the matmul is bound by
compute, one that runs at the rate of the copy by memory bandwidth.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from clinometer.kernels import equations
from clinometer.kernels.bench import timer
from clinometer.kernels.cost import flops

MATMUL, COPY = "yardstick-matmul", "yardstick-copy"
_SIZE = 1024  # Of the matmul; XLA's own is near its peak at this size.
PRODUCT_FLOPS = 2 * _SIZE**3


@dataclasses.dataclass(frozen=True)
class Workload:
    """The work of the C++ kernels in a program.

    Attributes:
        executed_flops: FLOPs executed, including recomputation but not skipped blocks.
        least_bytes: bytes of operands and results, each moved once.
    """

    executed_flops: int
    least_bytes: int

    @classmethod
    def of(cls, function: Callable[..., Any], arguments: Sequence[Any]) -> "Workload":
        """Counts the work of a traceable function; nothing is run.

        Args:
            function: a traceable function.
            arguments: its arguments, or their shapes.
        """
        jaxpr = jax.make_jaxpr(function)(*arguments)
        costs = [equations.declared_cost(call) for call in equations.calls(jaxpr.jaxpr)]
        executed = flops.count_jaxpr(jaxpr, platform="cpu")
        return cls(executed, sum(cost.bytes for cost in costs))

    def functions(self) -> dict[str, Callable[[], Any]]:
        """Returns a matmul and a copy of `least_bytes` bytes, ready to be timed."""
        matrix = jnp.ones((_SIZE, _SIZE), jnp.float32)
        vector = jnp.ones(max(1, self.least_bytes // 8), jnp.float32)
        product = jax.jit(jnp.dot).lower(matrix, matrix).compile()
        # A plain copy would be optimized to an alias.
        copy = jax.jit(jnp.negative).lower(vector).compile()
        return {
            MATMUL: lambda: jax.block_until_ready(product(matrix, matrix)),
            COPY: lambda: jax.block_until_ready(copy(vector)),
        }

    def profile(self, timings: Mapping[str, timer.Timing]) -> dict[str, float]:
        """Returns the fields of a record: the work, and fractions of the yardsticks.

        Args:
            timings: the times of "cpu" and of the yardsticks in the same rounds.
        """
        seconds = timings["cpu"].median
        matmul_seconds = timings[MATMUL].median * self.executed_flops / PRODUCT_FLOPS
        return {
            **dataclasses.asdict(self),
            "fraction_of_matmul_rate": matmul_seconds / seconds,
            "fraction_of_copy_rate": timings[COPY].median / seconds,
        }
