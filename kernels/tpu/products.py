"""Products of matrices in kernels, whose sums are float32."""

import jax
import jax.numpy as jnp


def dot(
    a: jax.Array,
    b: jax.Array,
    over: tuple[int, int] = (1, 0),
    precision: jax.lax.Precision | None = None,
) -> jax.Array:
    """Product over an axis of each; float32.

    Args:
        a: a matrix.
        b: a matrix.
        over: the axes of a and b that are summed over.
        precision: None for JAX's default.
    """
    return jax.lax.dot_general(
        a,
        b,
        (((over[0],), (over[1],)), ((), ())),
        precision=precision,
        preferred_element_type=jnp.float32,
    )
