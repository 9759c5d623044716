"""A forward and a backward kernel as one function with a gradient.

The only place with a custom gradient's rule. What goes where follows from the names in
the two signatures: the backward kernel takes operands and results of the forward one by
their names, and the gradient that flows back into a result NAME as NAME_grad; it gives
the gradient of an operand NAME as NAME_grad. Other operands have gradients of zero.
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
Settings = tuple[tuple[str, Any], ...]  # items of `declaration.Settings`, hashable


@dataclasses.dataclass(frozen=True, eq=False)
class Differentiable:
    """An operation, differentiable once, in reverse mode.

    Attributes:
        forward: the kernel of its forward pass.
        backward: that of its backward pass. It takes every operand of the forward one
            that has no gradient.
        outputs: names of the forward kernel's results that callers get; others are
            only for the backward pass.
        constants: operands of the backward kernel that nothing gives, by name: made
            from the arrays that are kept for it, by name.

    Raises:
        ValueError: the kernels do not fit together; says which names.
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
                f"{self.backward}: {', '.join(unknown)}: nothing of that name in "
                f"{self.forward}"
            )
        lost = [
            name
            for name in ahead.operands
            if name not in back.operands and name + _SUFFIX not in back.results
        ]
        if lost:
            raise ValueError(
                f"{self.backward}: {', '.join(lost)}: neither taken, nor has it a "
                "gradient"
            )

    @property
    def kept(self) -> list[str]:
        """Names of the operands and results that the backward pass needs."""
        ahead = self.forward.signature
        given = {*ahead.operands, *ahead.results}
        return [name for name in self.backward.signature.operands if name in given]

    def __call__(
        self,
        operands: declaration.Operands,
        settings: declaration.Settings,
        implementation: str | tuple[str, ...],
    ) -> tuple[jax.Array, ...]:
        """Returns the outputs; arguments as `dispatch.call`."""
        arrays = self.forward.signature.ordered(str(self.forward), operands)
        return _run(arrays, self, tuple(settings.items()), implementation)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _run(
    arrays: tuple[jax.Array, ...],
    operation: Differentiable,
    settings: Settings,
    implementation: str | tuple[str, ...],
) -> tuple[jax.Array, ...]:
    """Returns the outputs of an operation, of operands in their order."""
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
    """Returns the gradient of what has none."""
    if jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.zeros_like(x)
    return np.zeros(x.shape, jax.dtypes.float0)
