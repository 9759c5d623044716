"""Products over a part of all pairs, whose rows may hold what is no number.

What a pair that is masked weighs is 0, but 0 times NaN is NaN: one row would reach all
others. So where a row is not finite, masked pairs are left out, at many times the cost.
"""

from collections.abc import Callable
from collections.abc import Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp

# An einsum such as "bhts,bshd->bthd", of weights and of rows, over the pairs that are
# allowed, bool that can be broadcast to the weights; others weigh 0. float32.
Product = Callable[[str, jax.Array, jax.Array, jax.Array], jax.Array]


def run(function: Callable[..., Any], operands: Sequence[jax.Array], rows: Any) -> Any:
    """Runs a function with the product that its rows need.

    Only on CPUs: elsewhere it is always the plain one, and NaN may reach an example's
    other positions. A branch that is not taken needs its memory all the same.

    Args:
        function: of the operands, and a `Product` by the name `product`.
        operands: of the function.
        rows: arrays; NaN and infinities in them call for the careful product.
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
    """The `Product` of finite rows."""
    del allowed
    return jnp.einsum(equation, weights, rows, preferred_element_type=jnp.float32)


def finite_or_seen(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns x [B, S, ...], 0 for what is masked by [B, S] and not finite."""
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
    # Where the axes of what is allowed stand in the result, and which it lacks there.
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
