"""Makes an implementation of a handler in the C++ extension."""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import logging
from typing import Any

import jax
import jax.numpy as jnp

from clinometer.kernels import declaration
from clinometer.kernels.signature import Signature


@functools.cache
def unavailable() -> str | None:
    """Why the extension cannot be used on this machine, or None."""
    try:
        # Here, not at the top: without a compiler the reference forms must work.
        from clinometer.kernels.cpu import native  # noqa: F401
    except ImportError as error:
        return str(error)
    return None


@functools.cache
def _unavailable_told() -> str | None:
    """As `unavailable`, and logged, once: "auto" would go on without a word."""
    reason = unavailable()
    if reason is not None:
        logging.getLogger(__name__).warning(
            "the plain jnp forms run in place of the C++ kernels: %s", reason
        )
    return reason


def implementation(
    handler: str,
    signature: Signature,
    executed_flops: Callable[..., int],
    refuse: Callable[..., str | None] = lambda **_: None,
    avoid: Callable[..., str | None] = lambda **_: None,
    without: Sequence[str] = (),
    sums_groups: bool = False,
    cost_settings: Sequence[str] = (),
) -> declaration.Implementation:
    """Returns the implementation that hands everything to one handler.

    Handlers compute in float32: bfloat16 operands are converted before, results after.
    They give the gradient of a shared operand for each example, and the sum over groups
    is made here; or they sum themselves, by the result's leading axis.

    Args:
        handler: name in the extension's table.
        signature: of the kernel; the handler takes operands in that order.
        executed_flops: as `declaration.Implementation.executed_flops`.
        refuse: operands' shapes and settings, by name, to a reason, or None.
        avoid: as `refuse`, but heeded by "auto" only: why the reference is faster.
        without: operands that the handler does not take.
        sums_groups: the handler sums gradients of shared operands itself.
        cost_settings: settings that only costs depend on, unknown to the handler.
    """

    def run(**given: Any) -> tuple[jax.Array, ...]:
        from clinometer.kernels.cpu import native

        operands = {name: given[name] for name in signature.operands}
        settings = {name: given[name] for name in signature.settings}
        wanted = signature.result_shapes(operands, settings)
        if "groups" in settings and not sums_groups:
            settings["groups"] = max(x.shape[0] for x in operands.values())
        shapes = signature.result_shapes(operands, settings)
        hidden = ("groups", *cost_settings)
        made = native.call(
            handler,
            [jax.ShapeDtypeStruct(x.shape, _computed(x.dtype)) for x in shapes],
            *(
                x.astype(_computed(x.dtype))
                for name, x in operands.items()
                if name not in without
            ),
            **{name: x for name, x in settings.items() if name not in hidden},
        )
        return tuple(
            _sum_groups(x, want.shape[0]).astype(want.dtype)
            for x, want in zip(made, wanted, strict=True)
        )

    def refuse_here(_: str | None, **given: Any) -> str | None:
        return _unavailable_told() or refuse(**given)

    return declaration.Implementation(
        run,
        platforms=("cpu",),
        refuse=refuse_here,
        executed_flops=executed_flops,
        avoid=lambda _, **given: avoid(**given),
    )


def _sum_groups(x: jax.Array, groups: int) -> jax.Array:
    if x.shape[0] == groups:
        return x
    return x.reshape(groups, x.shape[0] // groups, *x.shape[1:]).sum(axis=1)


def _computed(dtype: Any) -> Any:
    return jnp.float32 if jnp.issubdtype(dtype, jnp.floating) else dtype
