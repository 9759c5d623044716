"""Makes an implementation of Pallas TPU kernels, and calls them."""

from collections.abc import Callable
from typing import Any
from typing import TypeVar

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from clinometer.kernels import context
from clinometer.kernels import declaration
from clinometer.kernels.tpu import chips

T = TypeVar("T")


def implementation(
    run: Callable[..., tuple[jax.Array, ...]],
    executed_flops: Callable[..., int],
    refuse: Callable[..., str | None] = lambda chip, **_: None,
    avoid: Callable[..., str | None] = lambda chip, **_: None,
) -> declaration.Implementation:
    """Returns the implementation that runs Pallas kernels, on the chips that can.

    Args:
        run: as `declaration.Implementation.run`; `chip()` tells what it is lowered for.
        executed_flops: as `declaration.Implementation.executed_flops`.
        refuse: chip, operands' shapes and settings, by name, to a reason, or None.
        avoid: as `refuse`, but heeded by "auto" only: why XLA is faster.
    """

    def refuse_here(kind: str | None, **given: Any) -> str | None:
        return chips.refusal(kind) or refuse(chips.of_device_kind(kind), **given)

    def avoid_here(kind: str | None, **given: Any) -> str | None:
        return avoid(chips.of_device_kind(kind), **given)

    return declaration.Implementation(
        run,
        platforms=("tpu",),
        refuse=refuse_here,
        executed_flops=executed_flops,
        avoid=avoid_here,
        interpretable=True,
    )


def left_to_xla(reason: str) -> declaration.Implementation:
    """Returns the declaration that there is no Pallas kernel of a pass, and why.

    Args:
        reason: what choices and errors tell.
    """
    return declaration.Implementation(
        None,
        platforms=("tpu",),
        refuse=lambda kind, **_: chips.refusal(kind) or reason,
        interpretable=True,
    )


def chip() -> chips.Chip:
    """Returns the chip that the kernel which is traced now is lowered for."""
    return chips.of_device_kind(context.target.value)


def blocks(kind: type[T]) -> T | None:
    """Returns what `kernels.block_sizes` names for an operation, or None."""
    given = context.block_sizes.value
    for sizes in given if isinstance(given, tuple) else (given,):
        if isinstance(sizes, kind):
            return sizes
    return None


def call(
    kernel: Callable[..., None],
    name: str,
    *,
    dimension_semantics: tuple[str, ...],
    vmem_limit_bytes: int | None = None,
    **kwargs: Any,
) -> Callable[..., Any]:
    """Returns `pl.pallas_call(kernel, ...)`, interpreted where `interpret` says so.

    Args:
        kernel: the kernel's body.
        name: in the compiler's reports.
        dimension_semantics: of each axis of the grid, "parallel" or "arbitrary".
        vmem_limit_bytes: for blocks that need more than the compiler's default.
        **kwargs: of `pl.pallas_call`.
    """
    interpret = context.interpret.value
    return pl.pallas_call(
        kernel,
        name=name,
        interpret=False if interpret is None else interpret,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=dimension_semantics,
            vmem_limit_bytes=vmem_limit_bytes,
        ),
        **kwargs,
    )
