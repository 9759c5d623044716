"""Products of activations and a parameter, with gradients that are fast on CPUs.

JAX takes the gradient of a parameter from the product of the output's gradient with the
input, in this order. XLA for CPUs then transposes the output's gradient in memory
before it multiplies, which takes about as long as the product itself for small models.
The gradients here are the same sums in an order that needs no such copy.

In bfloat16, XLA for CPUs is fast only if both operands are bfloat16, the result is
float32 and the left operand is contracted over its last axis. On CPUs, bfloat16
products are therefore rounded after they are summed in float32, and the gradients of
parameters are not rounded. Processors that cannot multiply bfloat16 multiply the same
numbers in float32.

Shapes: N inputs, M outputs, R rows (the product of all axes but the last).
"""

import functools
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name
from jax.custom_derivatives import SymbolicZero
from jax.experimental import layout
import jax.numpy as jnp

from clinometer.kernels import shard_context
from clinometer.kernels.cpu import bfloat16

# The name of products in bfloat16 for rematerialization, which cannot see them, since
# there is one for each platform.
RESULT = "dense_product"


def dense(
    x: jax.Array,
    kernel: jax.Array,
    dtype: Any = None,
    transpose_kernel: bool = False,
) -> jax.Array:
    """Multiplies activations by a parameter in the dtype of the activations.

    Args:
        x: [..., N], float32 or bfloat16.
        kernel: float32 [N, M], or [M, N] with `transpose_kernel`.
        dtype: dtype of the result, float32 or that of x; None for that of x.
        transpose_kernel: multiply by the transpose of `kernel`. On CPUs, a transpose
            outside of this function would be much slower in bfloat16.

    Returns:
        [..., M].
    """
    return _dense(x, kernel, jnp.dtype(dtype or x.dtype), transpose_kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _dense(
    x: jax.Array, kernel: jax.Array, dtype: jnp.dtype, transpose_kernel: bool
) -> jax.Array:
    return _product(x, kernel, x.dtype, dtype, transpose_kernel)


def _forward(
    x: Any, kernel: Any, dtype: jnp.dtype, transpose_kernel: bool
) -> tuple[jax.Array, tuple[jax.Array, jax.Array | None]]:
    # Not `_dense` itself: rematerialization sees a product here, and can keep it.
    y = _product(x.value, kernel.value, x.value.dtype, dtype, transpose_kernel)
    # The first layer's inputs, such as images, need no gradient.
    return y, (x.value, kernel.value if x.perturbed else None)


def _backward(
    dtype: jnp.dtype,
    transpose_kernel: bool,
    saved: tuple[jax.Array, jax.Array | None],
    y_grad: Any,
) -> tuple[jax.Array | None, jax.Array | None]:
    if isinstance(y_grad, SymbolicZero):
        return None, None
    x, kernel = saved
    x_grad = None
    if kernel is not None:
        x_grad = _product(y_grad, kernel, x.dtype, dtype, not transpose_kernel)
        x_grad = x_grad.astype(x.dtype)
    gradient = _table_gradient if transpose_kernel else _kernel_gradient
    return x_grad, gradient(x, y_grad, dtype)


_dense.defvjp(_forward, _backward, symbolic_zeros=True)


def _product(
    x: jax.Array,
    kernel: jax.Array,
    operand_dtype: jnp.dtype,
    dtype: jnp.dtype,
    transpose_kernel: bool,
) -> jax.Array:
    """Multiplies [..., N] by a kernel; the result is of `dtype`."""
    kernel = kernel.astype(operand_dtype)

    def default(x: jax.Array, kernel: jax.Array) -> jax.Array:
        equation = "...n,mn->...m" if transpose_kernel else "...n,nm->...m"
        return jnp.einsum(equation, x, kernel, preferred_element_type=dtype)

    def on_cpu(x: jax.Array, kernel: jax.Array) -> jax.Array:
        y = _bfloat16_dot(_rows(x), kernel, 1 if transpose_kernel else 0)
        return y.reshape(*x.shape[:-1], y.shape[-1]).astype(dtype)

    if operand_dtype != jnp.bfloat16:
        return default(x, kernel)
    y = jax.lax.platform_dependent(x, kernel, cpu=on_cpu, default=default)
    return checkpoint_name(y, RESULT)


def _kernel_gradient(x: jax.Array, y_grad: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Returns the gradient of a kernel [N, M], float32."""

    def default(x: jax.Array, y_grad: jax.Array) -> jax.Array:
        product = jnp.einsum("...n,...m->nm", x, y_grad, preferred_element_type=dtype)
        return product.astype(jnp.float32)

    def on_cpu(x: jax.Array, y_grad: jax.Array) -> jax.Array:
        return _bfloat16_dot(_transposed(_rows(x)), _rows(y_grad), 0)

    if x.dtype != jnp.bfloat16:
        return default(x, y_grad)
    return jax.lax.platform_dependent(x, y_grad, cpu=on_cpu, default=default)


def _table_gradient(x: jax.Array, y_grad: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Returns the gradient of a kernel [M, N] that is multiplied transposed."""

    def default(x: jax.Array, y_grad: jax.Array) -> jax.Array:
        product = jnp.einsum("...m,...n->mn", y_grad, x, preferred_element_type=dtype)
        return product.astype(jnp.float32)

    def on_cpu(x: jax.Array, y_grad: jax.Array) -> jax.Array:
        if x.dtype == jnp.bfloat16:
            # Not the narrower operand: XLA would turn a transposed result into a
            # product of operands in the other order, after it has chosen the code.
            return _bfloat16_dot(_transposed(_rows(y_grad)), _rows(x), 0)
        transposed = jnp.einsum(
            "...n,...m->nm", x, y_grad, preferred_element_type=dtype
        )
        # Without the barrier, XLA folds the transposition into the product, and for
        # that transposes the larger `y_grad`. On TPUs it only adds copies.
        return jax.lax.optimization_barrier(transposed).T

    return jax.lax.platform_dependent(x, y_grad, cpu=on_cpu, default=default)


def _rows(x: jax.Array) -> jax.Array:
    """Returns bfloat16 [R, N]."""
    return x.reshape(-1, x.shape[-1]).astype(jnp.bfloat16)


def _bfloat16_dot(left: jax.Array, right: jax.Array, axis: int) -> jax.Array:
    """Contracts the last axis of [A, N] with an axis of a matrix; returns float32."""
    if not bfloat16.is_multiplied():
        left, right = left.astype(jnp.float32), right.astype(jnp.float32)
    return jax.lax.dot_general(
        left, right, (((1,), (axis,)), ((), ())), preferred_element_type=jnp.float32
    )


def _transposed(x: jax.Array) -> jax.Array:
    """Transposes a matrix in memory.

    The constraint asks for the layout that the result has anyway. It stands between the
    transposition and the product during the pass that would merge them, which makes the
    product slow. With several devices, x would be gathered from all of them for it.
    """
    sharding = shard_context.here()
    if sharding is not None and sharding.mesh.size > 1:
        return x.T
    return layout.with_layout_constraint(x.T, layout.Layout((0, 1)))
