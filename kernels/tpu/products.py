"""Matrix products inside kernels, accumulated in float32."""

import jax
import jax.numpy as jnp


def dot(
    a: jax.Array,
    b: jax.Array,
    over: tuple[int, int] = (1, 0),
    precision: jax.lax.Precision | None = None,
) -> jax.Array:
    """Returns the float32 product of two matrices.

    Args:
        a: a matrix.
        b: a matrix.
        over: the contracted axis of a and that of b.
        precision: None for JAX's default.
    """
    return jax.lax.dot_general(
        a,
        b,
        (((over[0],), (over[1],)), ((), ())),
        precision=precision,
        preferred_element_type=jnp.float32,
    )
