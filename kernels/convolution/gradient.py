"""The gradient's rule that both convolutions have."""

import functools

import jax

from clinometer.kernels import dispatch

Kernels = tuple[dispatch.Kernel, dispatch.Kernel]  # forward, backward


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def convolve(
    x: jax.Array,
    weights: jax.Array,
    kernels: Kernels,
    settings: tuple,
    implementation: str | tuple[str, ...],
) -> jax.Array:
    """Convolves [B, S, d] with weights, differentiable by both.

    Args:
        x: [B, S, d].
        weights: [B, S, H, K], or [1, H, K] that all examples share.
        kernels: both passes.
        settings: items of the settings of both.
        implementation: name, or names to try in order.
    """
    return _forward(x, weights, kernels, settings, implementation)[0]


def _forward(
    x: jax.Array,
    weights: jax.Array,
    kernels: Kernels,
    settings: tuple,
    implementation: str | tuple[str, ...],
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    operands = (x, weights)
    (output,) = dispatch.call(kernels[0], operands, dict(settings), implementation)
    return output, operands


def _backward(
    kernels: Kernels,
    settings: tuple,
    implementation: str | tuple[str, ...],
    residuals: tuple[jax.Array, jax.Array],
    output_grad: jax.Array,
) -> tuple[jax.Array, ...]:
    operands = (*residuals, output_grad)
    return dispatch.call(kernels[1], operands, dict(settings), implementation)


convolve.defvjp(_forward, _backward)
