"""Declarations of kernels: signature, cost and implementations."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import jax

from clinometer.kernels.signature import Signature

Operands = Mapping[str, Any]  # Arrays or their shapes, by name.
Settings = Mapping[str, Any]  # Hashable values, by name.

_GPUS = ("cuda", "rocm")  # Platforms whose devices JAX calls "gpu".

# Names of implementations, in the order of their declaration.
_names: dict[str, None] = {}


@dataclasses.dataclass(frozen=True)
class CallCost:
    """The cost of one call, independent of the implementation.

    Attributes:
        flops: FLOPs of the matrix products, two per multiply-add, masked positions
            included.
        bytes: bytes moved if operands are read once and results written once.
    """

    flops: int
    bytes: int


def _nothing(*_: Any, **__: Any) -> None:
    return None


@dataclasses.dataclass(frozen=True)
class Implementation:
    """One implementation of a kernel.

    All functions take operands (or their shapes) and settings by name.

    Attributes:
        run: traceable function that returns a tuple of results. None if there is no
            such form; `refuse` must then always return a reason.
        platforms: the platforms it runs on, e.g. ("cuda", "rocm"); None for all.
        refuse: takes the target's device kind, then shapes and settings; returns the
            reason why the implementation cannot run the call, or None. Called only if
            the platform is supported.
        executed_flops: takes shapes and settings; returns the FLOPs that a call
            executes. None if they can be counted on the jaxpr of `run`.
        avoid: like `refuse`, but only used by "auto": why another one is faster.
        interpretable: whether `context.interpret` lets it run on other platforms.
    """

    run: Callable[..., tuple[jax.Array, ...]] | None
    platforms: tuple[str, ...] | None = None
    refuse: Callable[..., str | None] = _nothing
    executed_flops: Callable[..., int] | None = None
    avoid: Callable[..., str | None] = _nothing
    interpretable: bool = False

    def runs_on(self, platform: str) -> bool:
        """Returns whether it supports "cpu", "tpu", "cuda", "rocm" or "gpu"."""
        return self.platforms is None or is_among(platform, self.platforms)


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """One pass of an operation.

    Attributes:
        op: the name of the operation.
        pass_name: "forward" or "backward".
        signature: operands, results and settings.
        flops: takes operands' shapes and settings by name; returns the algorithmic
            FLOPs of a call.
        implementations: implementations by name. "auto" tries those that declare the
            platform, in this order, and then those for all platforms.
    """

    op: str
    pass_name: str
    signature: Signature
    flops: Callable[..., int]
    implementations: Mapping[str, Implementation]

    def __post_init__(self) -> None:
        _names.update(dict.fromkeys(self.implementations))

    def __str__(self) -> str:
        """Returns the name used in messages."""
        return f"{self.op} ({self.pass_name})"

    def cost(self, operands: Operands, settings: Settings) -> CallCost:
        """Returns the declared cost of a call with these operands and settings.

        Args:
            operands: arrays or their shapes, by name.
            settings: settings by name.
        """
        flops = self.flops(**operands, **settings)
        return CallCost(flops, self.signature.bytes(operands, settings))

    def auto(self, platform: str) -> list[str]:
        """Returns the implementations that "auto" tries on a platform, in order."""
        able = [(n, x) for n, x in self.implementations.items() if x.runs_on(platform)]
        return [name for name, x in sorted(able, key=lambda y: y[1].platforms is None)]

    def function(self, implementation: str, settings: Settings) -> Callable[..., Any]:
        """Returns an implementation as a function of operands in declared order.

        Args:
            implementation: the name of the implementation.
            settings: settings by name.
        """
        run = self.implementations[implementation].run
        return lambda *arrays: run(**self.signature.named(arrays), **settings)

    def target_platforms(self, platform: str, interpreted: bool) -> tuple[str, ...]:
        """Returns the platforms among whose devices the target's kind is looked up.

        Interpreted kernels are lowered for the platforms of their implementation, not
        for the one that runs them.

        Args:
            platform: the platform that the program is lowered for.
            interpreted: whether kernels are interpreted.
        """
        if not interpreted:
            return (platform,)
        found = [x for x in self.implementations.values() if x.interpretable]
        return tuple(name for x in found for name in x.platforms or ())


def implementation_names() -> tuple[str, ...]:
    """Returns the names of all implementations declared so far."""
    return tuple(_names)


def is_among(platform: str, platforms: Sequence[str]) -> bool:
    """Returns whether `platform`, as JAX or a device names it, is in `platforms`.

    Args:
        platform: "cpu", "tpu", "cuda", "rocm", or "gpu" for either of the last two.
        platforms: names of platforms.
    """
    names = _GPUS if platform == "gpu" else (platform,)
    return any(name in platforms for name in names)
