"""Declares implementations made of Pallas TPU kernels, and calls the kernels."""

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
    """Returns an implementation made of Pallas kernels, for the chips that can run it.

    Args:
        run: see `declaration.Implementation.run`; `chip()` returns the chip that it is
            lowered for.
        executed_flops: see `declaration.Implementation.executed_flops`.
        refuse: takes the chip, then shapes and settings by name; returns the reason why
            the kernels cannot run the call, or None.
        avoid: like `refuse`, but only used by "auto": why XLA is faster.
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
    """Returns the declaration of a pass that has no Pallas kernel.

    Args:
        reason: why it has none, shown in choices and errors.
    """
    return declaration.Implementation(
        None,
        platforms=("tpu",),
        refuse=lambda kind, **_: chips.refusal(kind) or reason,
        interpretable=True,
    )


def chip() -> chips.Chip:
    """Returns the chip that the kernel being traced is lowered for."""
    return chips.of_device_kind(context.target.value)


def blocks(kind: type[T]) -> T | None:
    """Returns the block sizes of type `kind` set by `kernels.block_sizes`, or None."""
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
    """Returns `pl.pallas_call(kernel, ...)`, interpreted within `context.interpret`.

    Args:
        kernel: the kernel's body.
        name: its name in the compiler's reports.
        dimension_semantics: "parallel" or "arbitrary" for each axis of the grid.
        vmem_limit_bytes: the VMEM limit, if the compiler's default is too small.
        **kwargs: other arguments of `pl.pallas_call`.
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
