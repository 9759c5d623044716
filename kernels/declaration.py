"""What a kernel declares: its signature, its costs, its implementations."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import jax

from clinometer.kernels.signature import Signature

Operands = Mapping[str, Any]  # arrays or their shapes, by name
Settings = Mapping[str, Any]  # hashable values by name

_GPUS = ("cuda", "rocm")  # JAX calls their devices "gpu".

# Names of implementations, in the order in which kernels declared them.
_names: dict[str, None] = {}


@dataclasses.dataclass(frozen=True)
class CallCost:
    """What one call needs, whatever implements it.

    Attributes:
        flops: of the products, two a multiply-add; masked positions count.
        bytes: operands read once and results written once.
    """

    flops: int
    bytes: int


def _nothing(*_: Any, **__: Any) -> None:
    return None


@dataclasses.dataclass(frozen=True)
class Implementation:
    """One way to run a kernel; all functions take operands and settings by name.

    Attributes:
        run: operands and settings to a tuple of results; traceable. None where there is
            no such form, for which `refuse` then always has a reason.
        platforms: that it runs on, e.g. ("cuda", "rocm"); None for all.
        refuse: target device kind, operands' shapes and settings to a reason why it
            cannot run, or None. It is asked on its own platforms only.
        executed_flops: operands' shapes and settings to the FLOPs that it executes;
            None where they can be counted on the jaxpr of `run`.
        avoid: as `refuse`, but heeded by "auto" only: why another is faster.
        interpretable: `context.interpret` lets it run on other platforms too.
    """

    run: Callable[..., tuple[jax.Array, ...]] | None
    platforms: tuple[str, ...] | None = None
    refuse: Callable[..., str | None] = _nothing
    executed_flops: Callable[..., int] | None = None
    avoid: Callable[..., str | None] = _nothing
    interpretable: bool = False

    def runs_on(self, platform: str) -> bool:
        """Whether it is for a platform: "cpu", "tpu", "cuda", "rocm", or "gpu"."""
        return self.platforms is None or is_among(platform, self.platforms)


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """One pass of an operation.

    Attributes:
        op: name of the operation.
        pass_name: "forward" or "backward".
        signature: its operands, results and settings.
        flops: operands' shapes and settings, by name, to the algorithmic FLOPs.
        implementations: by name. "auto" tries those that declare the platform, in this
            order, and then those for all platforms.
    """

    op: str
    pass_name: str
    signature: Signature
    flops: Callable[..., int]
    implementations: Mapping[str, Implementation]

    def __post_init__(self) -> None:
        _names.update(dict.fromkeys(self.implementations))

    def __str__(self) -> str:
        """Returns the name that messages have."""
        return f"{self.op} ({self.pass_name})"

    def cost(self, operands: Operands, settings: Settings) -> CallCost:
        """Returns the declared cost of a call with operands of these shapes."""
        flops = self.flops(**operands, **settings)
        return CallCost(flops, self.signature.bytes(operands, settings))

    def auto(self, platform: str) -> list[str]:
        """Returns what "auto" tries on a platform, in order."""
        able = [(n, x) for n, x in self.implementations.items() if x.runs_on(platform)]
        return [name for name, x in sorted(able, key=lambda y: y[1].platforms is None)]

    def function(self, implementation: str, settings: Settings) -> Callable[..., Any]:
        """Returns what an implementation runs, of operands in the signature's order."""
        run = self.implementations[implementation].run
        return lambda *arrays: run(**self.signature.named(arrays), **settings)

    def target_platforms(self, platform: str, interpreted: bool) -> tuple[str, ...]:
        """Returns the platforms whose devices' kind a lowering on `platform` is for.

        What is interpreted is lowered for its own, of no kind on other devices.
        """
        if not interpreted:
            return (platform,)
        found = [x for x in self.implementations.values() if x.interpretable]
        return tuple(name for x in found for name in x.platforms or ())


def implementation_names() -> tuple[str, ...]:
    """Returns the names of all implementations that kernels have declared."""
    return tuple(_names)


def is_among(platform: str, platforms: Sequence[str]) -> bool:
    """Whether a platform, as JAX or its devices call it, is one of `platforms`."""
    names = _GPUS if platform == "gpu" else (platform,)
    return any(name in platforms for name in names)
