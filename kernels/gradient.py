"""Combines a forward and a backward kernel into one differentiable function.

No other module of `kernels` defines a custom VJP. Arrays are matched by the names in
the two signatures: the backward kernel takes operands and results of the forward kernel
under the same names, and the cotangent of an output NAME as NAME_grad. It returns the
gradient of an operand NAME as NAME_grad. Other operands have zero gradients.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.kernels import declaration
from clinometer.kernels import dispatch

_SUFFIX = "_grad"
Settings = tuple[tuple[str, Any], ...]  # Items of `declaration.Settings`, hashable.


@dataclasses.dataclass(frozen=True, eq=False)
class Differentiable:
    """An operation that is differentiable once, in reverse mode.

    Attributes:
        forward: the kernel of the forward pass.
        backward: the kernel of the backward pass. It must take every operand of
            `forward` for which it returns no gradient.
        outputs: names of the forward kernel's results that are returned to the caller;
            the other results are residuals for the backward pass.
        constants: functions that make the remaining operands of the backward kernel, by
            operand name. They take the residuals by name.

    Raises:
        ValueError: if names in the two signatures do not match.
    """

    forward: declaration.Kernel
    backward: declaration.Kernel
    outputs: tuple[str, ...]
    constants: Mapping[str, Callable[..., jax.Array]] = dataclasses.field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        ahead, back = self.forward.signature, self.backward.signature
        known = {*ahead.operands, *ahead.results, *ahead.settings, *self.constants}
        known |= {name + _SUFFIX for name in (*ahead.operands, *self.outputs)}
        used = (*back.operands, *back.results, *back.settings, *self.outputs)
        unknown = [name for name in used if name not in known]
        if unknown:
            raise ValueError(
                f"{self.backward}: {', '.join(unknown)}: no operand, result or "
                f"setting of that name in {self.forward}"
            )
        lost = [
            name
            for name in ahead.operands
            if name not in back.operands and name + _SUFFIX not in back.results
        ]
        if lost:
            raise ValueError(
                f"{self.backward}: {', '.join(lost)}: must be an operand, or its "
                "gradient must be a result"
            )

    @property
    def kept(self) -> list[str]:
        """Names of the forward operands and results kept for the backward pass."""
        ahead = self.forward.signature
        given = {*ahead.operands, *ahead.results}
        return [name for name in self.backward.signature.operands if name in given]

    def __call__(
        self,
        operands: declaration.Operands,
        settings: declaration.Settings,
        implementation: str | tuple[str, ...],
    ) -> tuple[jax.Array, ...]:
        """Returns the outputs; the arguments are those of `dispatch.call`."""
        arrays = self.forward.signature.ordered(str(self.forward), operands)
        return _run(arrays, self, tuple(settings.items()), implementation)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _run(
    arrays: tuple[jax.Array, ...],
    operation: Differentiable,
    settings: Settings,
    implementation: str | tuple[str, ...],
) -> tuple[jax.Array, ...]:
    """Returns the outputs of an operation; `arrays` are in declared order."""
    return _forward(arrays, operation, settings, implementation)[0]


def _forward(
    arrays: tuple[jax.Array, ...],
    operation: Differentiable,
    settings: Settings,
    implementation: str | tuple[str, ...],
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    kernel = operation.forward
    given = kernel.signature.named(arrays)
    results = dispatch.call(kernel, given, dict(settings), implementation)
    given |= zip(kernel.signature.results, results, strict=True)
    return (
        tuple(given[name] for name in operation.outputs),
        tuple(given[name] for name in operation.kept),
    )


def _backward(
    operation: Differentiable,
    settings: Settings,
    implementation: str | tuple[str, ...],
    residuals: tuple[jax.Array, ...],
    output_gradients: tuple[jax.Array, ...],
) -> tuple[tuple[Any, ...]]:
    kernel = operation.backward
    kept = dict(zip(operation.kept, residuals, strict=True))
    given = kept | {name: make(**kept) for name, make in operation.constants.items()}
    names = (name + _SUFFIX for name in operation.outputs)
    given |= zip(names, output_gradients, strict=True)
    results = dispatch.call(
        kernel,
        {name: given[name] for name in kernel.signature.operands},
        {name: x for name, x in settings if name in kernel.signature.settings},
        implementation,
    )
    found = dict(zip(kernel.signature.results, results, strict=True))
    of_operand = (name + _SUFFIX for name in operation.forward.signature.operands)
    return (
        tuple(
            found[name] if name in found else _zeros(kept[name.removesuffix(_SUFFIX)])
            for name in of_operand
        ),
    )


_run.defvjp(_forward, _backward)


def _zeros(x: jax.Array) -> Any:
    """Returns a zero gradient; of dtype float0 for integer arrays."""
    if jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.zeros_like(x)
    return np.zeros(x.shape, jax.dtypes.float0)
