"""What the machine can do, measured beside the kernels: a matrix product and a copy.

They say why a kernel is no faster: one that runs at the rate of the product is bound by
arithmetic, one at the rate of the copy by memory.
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
_SIZE = 1024  # of the product; XLA's own is near the peak there
PRODUCT_FLOPS = 2 * _SIZE**3


@dataclasses.dataclass(frozen=True)
class Workload:
    """What the C++ kernels in a program do.

    Attributes:
        executed_flops: recomputed and skipped blocks included.
        least_bytes: of operands and results, each moved once.
    """

    executed_flops: int
    least_bytes: int

    @classmethod
    def of(cls, function: Callable[..., Any], arguments: Sequence[Any]) -> "Workload":
        """Counts a traceable function of these arguments; nothing is run."""
        jaxpr = jax.make_jaxpr(function)(*arguments)
        costs = [equations.declared_cost(call) for call in equations.calls(jaxpr.jaxpr)]
        executed = flops.count_jaxpr(jaxpr, platform="cpu")
        return cls(executed, sum(cost.bytes for cost in costs))

    def functions(self) -> dict[str, Callable[[], Any]]:
        """Returns a product of matrices, and a copy of as many bytes as the work's."""
        matrix = jnp.ones((_SIZE, _SIZE), jnp.float32)
        vector = jnp.ones(max(1, self.least_bytes // 8), jnp.float32)
        product = jax.jit(jnp.dot).lower(matrix, matrix).compile()
        # A plain copy would be an alias.
        copy = jax.jit(jnp.negative).lower(vector).compile()
        return {
            MATMUL: lambda: jax.block_until_ready(product(matrix, matrix)),
            COPY: lambda: jax.block_until_ready(copy(vector)),
        }

    def profile(self, timings: Mapping[str, timer.Timing]) -> dict[str, float]:
        """Returns the work, and how near it is to the machine's rates.

        Args:
            timings: of "cpu", and of the yardsticks in the same rounds.
        """
        seconds = timings["cpu"].median
        matmul_seconds = timings[MATMUL].median * self.executed_flops / PRODUCT_FLOPS
        return {
            **dataclasses.asdict(self),
            "fraction_of_matmul_rate": matmul_seconds / seconds,
            "fraction_of_copy_rate": timings[COPY].median / seconds,
        }
