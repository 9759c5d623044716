"""Measures a device's matmul rate, for devices without a published peak."""

from collections.abc import Callable
import statistics
import time

import jax
import jax.numpy as jnp

# Size of the square matrices, and products per call. One product of this size keeps all
# cores of a CPU busy; other devices need larger and several ones to hide the dispatch.
_SIZE = {"cpu": (1024, 1)}
_SIZE_ELSEWHERE = (4096, 8)
_SECONDS = 0.25  # Of all samples together.
_MIN_SAMPLES, _MAX_SAMPLES = 3, 15


def measure(dtype: str, clock: Callable[[], float] = time.perf_counter) -> float:
    """Returns the FLOPs per second of XLA's matmul on the default device.

    The median of samples that together take about a quarter of a second, after one
    warm-up call. Compiling takes about as long again.

    Args:
        dtype: the dtype of the matrices.
        clock: returns the time in seconds.
    """
    platform = jax.local_devices()[0].platform
    size, products = _SIZE.get(platform, _SIZE_ELSEWHERE)

    @jax.jit
    def draw() -> jax.Array:
        # With this scale, repeated products keep their magnitude.
        return jax.random.normal(jax.random.key(0), (size, size), dtype) / size**0.5

    def multiply(matrix: jax.Array) -> jax.Array:
        def step(_: int, product: jax.Array) -> jax.Array:
            # In bfloat16, sums in float32 are what processors are fast at.
            product = jnp.dot(product, matrix, preferred_element_type=jnp.float32)
            return product.astype(dtype)

        return jax.lax.fori_loop(0, products, step, matrix)

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
