"""Products of activations and a parameter, with gradients that are fast on CPUs.

JAX takes the gradient of a parameter from the product of the output's gradient with the
input, in this order. XLA for CPUs then transposes the output's gradient in memory
before it multiplies, which takes about as long as the product itself for small models.
The gradients here are the same sums in an order that needs no such copy.

Shapes: N inputs, M outputs, V vocabulary, d model width.
"""

import jax
import jax.numpy as jnp

_Operands = tuple[jax.Array, jax.Array]


@jax.custom_vjp
def dense(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Multiplies x [..., N] by a kernel [N, M] of the same dtype; returns [..., M]."""
    return x @ kernel


def _dense_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, _Operands]:
    # Not `dense` itself: rematerialization sees a product here, and can keep it.
    return x @ kernel, (x, kernel)


def _dense_backward(operands: _Operands, y_grad: jax.Array) -> _Operands:
    x, kernel = operands
    return y_grad @ kernel.T, jnp.einsum("...n,...m->nm", x, y_grad)


dense.defvjp(_dense_forward, _dense_backward)


@jax.custom_vjp
def tied_logits(h: jax.Array, table: jax.Array) -> jax.Array:
    """Multiplies h [..., d] by a table [V, d]; returns float32 [..., V]."""
    return jnp.einsum("...d,vd->...v", h, table, preferred_element_type=jnp.float32)


def _tied_logits_forward(h: jax.Array, table: jax.Array) -> tuple[jax.Array, _Operands]:
    return tied_logits(h, table), (h, table)


def _tied_logits_backward(operands: _Operands, logits_grad: jax.Array) -> _Operands:
    h, table = operands
    h_grad = jnp.einsum(
        "...v,vd->...d", logits_grad, table, preferred_element_type=jnp.float32
    )
    table_grad = jax.lax.platform_dependent(
        h, logits_grad, cpu=_table_gradient_on_cpu, default=_table_gradient
    )
    return h_grad.astype(h.dtype), table_grad.astype(table.dtype)


def _table_gradient(h: jax.Array, logits_grad: jax.Array) -> jax.Array:
    return jnp.einsum(
        "...v,...d->vd", logits_grad, h, preferred_element_type=jnp.float32
    )


def _table_gradient_on_cpu(h: jax.Array, logits_grad: jax.Array) -> jax.Array:
    transposed = jnp.einsum(
        "...d,...v->dv", h, logits_grad, preferred_element_type=jnp.float32
    )
    # Without the barrier, XLA folds the transposition into the product, and for that
    # transposes the larger `logits_grad`. On TPUs it only adds copies.
    return jax.lax.optimization_barrier(transposed).T


tied_logits.defvjp(_tied_logits_forward, _tied_logits_backward)
