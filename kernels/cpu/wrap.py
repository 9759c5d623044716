"""Declares implementations that call handlers of the C++ extension."""

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
    """Returns why the extension cannot be used on this machine, or None."""
    try:
        # Imported here because the reference forms must work without the extension.
        from clinometer.kernels.cpu import native  # noqa: F401
    except ImportError as error:
        return str(error)
    return None


@functools.cache
def _unavailable_told() -> str | None:
    """As `unavailable`, and warns once, because "auto" would fall back silently."""
    reason = unavailable()
    if reason is not None:
        logging.getLogger(__name__).warning(
            '"auto" takes the plain jnp forms instead of the C++ kernels: %s', reason
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
    multiplied: Sequence[str] = (),
) -> declaration.Implementation:
    """Returns an implementation that calls one handler.

    Handlers compute in float32; bfloat16 operands and results are converted, except
    for a handler of bfloat16 numbers. A handler returns the gradient of a shared
    operand for each example, which is summed over groups here, unless it does so itself
    (`sums_groups`).

    Args:
        handler: the handler's name in the extension.
        signature: the kernel's signature; the handler takes operands in its order.
        executed_flops: see `declaration.Implementation.executed_flops`.
        refuse: takes shapes and settings by name; returns the reason why the handler
            cannot run the call, or None.
        avoid: like `refuse`, but only used by "auto": why the reference is faster.
        without: operands that the handler does not take.
        sums_groups: whether the handler sums the gradients of shared operands itself.
        cost_settings: settings that only affect costs and are not passed on.
        multiplied: operands that HANDLER_of_bfloat16 takes as they are. It runs if they
            are bfloat16 and the processor multiplies that; without it, leave this out.
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
        low = {name for name in multiplied if given[name].dtype == jnp.bfloat16}
        takes_low = bool(low) and low == {*multiplied} and native.multiplies_bfloat16()
        made = native.call(
            f"{handler}_of_bfloat16" if takes_low else handler,
            [
                jax.ShapeDtypeStruct(
                    x.shape, x.dtype if takes_low else _computed(x.dtype)
                )
                for x in shapes
            ],
            *(
                x if takes_low and name in low else x.astype(_computed(x.dtype))
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
