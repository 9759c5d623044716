"""How fast this device multiplies matrices: a yardstick where no peak is published."""

from collections.abc import Callable
import statistics
import time

import jax
import jax.numpy as jnp

# Side of the matrices, and products a call. One product of that size keeps all cores of
# a processor busy; other devices need larger ones, and several, to hide the dispatch.
_SIZE = {"cpu": (1024, 1)}
_SIZE_ELSEWHERE = (4096, 8)
_SECONDS = 0.25  # of samples, in all
_MIN_SAMPLES, _MAX_SAMPLES = 3, 15


def measure(dtype: str, clock: Callable[[], float] = time.perf_counter) -> float:
    """Returns the FLOPs/s of XLA's product of square matrices on the default device.

    The median of samples that take a quarter of a second together, after one call that
    is not counted; compiling takes as long again.

    Args:
        dtype: of the matrices.
        clock: seconds.
    """
    platform = jax.local_devices()[0].platform
    size, products = _SIZE.get(platform, _SIZE_ELSEWHERE)

    @jax.jit
    def draw() -> jax.Array:
        # So scaled, products of products keep their size.
        return jax.random.normal(jax.random.key(0), (size, size), dtype) / size**0.5

    def multiply(matrix: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(
            0, products, lambda _, product: jnp.dot(product, matrix), matrix
        )

    matrix = jax.block_until_ready(draw())
    compiled = jax.jit(multiply).lower(matrix).compile()
    jax.block_until_ready(compiled(matrix))
    samples: list[float] = []
    while len(samples) < _MIN_SAMPLES or (
        sum(samples) < _SECONDS and len(samples) < _MAX_SAMPLES
    ):
        start = clock()
        jax.block_until_ready(compiled(matrix))
        samples.append(clock() - start)
    return products * 2 * size**3 / statistics.median(samples)
