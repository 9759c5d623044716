"""Masked products whose rows may contain NaN or infinities.

The weight of a masked pair is 0, but 0 times NaN is NaN, so one such row would affect
all others. If a row is not finite, masked pairs are therefore excluded from the sum, at
many times the cost.
"""

from collections.abc import Callable
from collections.abc import Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp

# (equation, weights, rows, allowed) -> float32: an einsum like "bhts,bshd->bthd" over
# the allowed pairs. `allowed` is bool and broadcasts to the weights, which are 0 for
# all other pairs.
Product = Callable[[str, jax.Array, jax.Array, jax.Array], jax.Array]


def run(function: Callable[..., Any], operands: Sequence[jax.Array], rows: Any) -> Any:
    """Runs a function with the plain product, or the masked one if rows need it.

    The choice is made on CPUs only. Elsewhere the plain product is always used, and NaN
    may reach other positions of an example. Memory is allocated for both branches.

    Args:
        function: takes the operands, and a `Product` as the keyword `product`.
        operands: the operands of the function.
        rows: arrays that require the masked product if they are not all finite.
    """
    plain = functools.partial(function, product=product)
    careful = functools.partial(function, product=_product_of_allowed)

    def choose(*operands: jax.Array) -> Any:
        is_finite = jnp.all(jnp.stack([jnp.isfinite(x).all() for x in rows]))
        return jax.lax.cond(is_finite, plain, careful, *operands)

    return jax.lax.platform_dependent(*operands, cpu=choose, default=plain)


def product(
    equation: str, weights: jax.Array, rows: jax.Array, allowed: jax.Array | None
) -> jax.Array:
    """Computes the `Product` of finite rows, ignoring `allowed`.

    Args:
        equation: an einsum equation of two operands.
        weights: the first operand.
        rows: the second operand.
        allowed: not used, as the weights of masked pairs are 0.
    """
    del allowed
    return jnp.einsum(equation, weights, rows, preferred_element_type=jnp.float32)


def finite_or_seen(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns x [B, S, ...] with 0 for non-finite values where mask [B, S] is False.

    Args:
        x: [B, S, ...].
        mask: bool [B, S], False for masked positions.
    """
    mask = mask.reshape(*mask.shape, *[1] * (x.ndim - 2))
    return jnp.where(mask | jnp.isfinite(x), x, jnp.zeros((), x.dtype))


def _product_of_allowed(
    equation: str, weights: jax.Array, rows: jax.Array, allowed: jax.Array
) -> jax.Array:
    left, right, result = equation.replace("->", ",").split(",")
    (summed,) = set(left) & set(right) - set(result)
    outer = functools.partial(
        jnp.einsum, equation.replace(summed, ""), preferred_element_type=jnp.float32
    )
    allowed = jnp.broadcast_to(allowed, weights.shape)
    # The order of the mask's axes in the result, and the result axes that it lacks.
    kept = left.replace(summed, "")
    order = [kept.index(axis) for axis in result if axis in kept]
    without = [place for place, axis in enumerate(result) if axis not in kept]

    def add(place: jax.Array, total: jax.Array) -> jax.Array:
        weight, is_allowed, row = (
            jax.lax.dynamic_index_in_dim(x, place, axes.index(summed), keepdims=False)
            for x, axes in ((weights, left), (allowed, left), (rows, right))
        )
        seen = jnp.expand_dims(jnp.transpose(is_allowed, order), without)
        return total + jnp.where(seen, outer(weight, row), 0.0)

    sizes = dict(zip(left + right, weights.shape + rows.shape))
    total = jnp.zeros([sizes[axis] for axis in result], jnp.float32)
    return jax.lax.fori_loop(0, sizes[summed], add, total)
