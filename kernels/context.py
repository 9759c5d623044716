"""User contexts that affect how kernel calls are lowered; part of jit's cache key."""

from collections.abc import Iterator
import contextlib
import dataclasses
from typing import Any

import jax

# The device kind that programs are lowered for, e.g. `with target("TPU v5e"):`. None:
# the kind of the program's own devices.
target = jax.make_user_context(default_value=None)

# `with interpret(pltpu.InterpretParams()):` runs interpretable implementations (the
# Pallas kernels) on any platform, slowly, with simulated memory. Meant for tests.
interpret = jax.make_user_context(default_value=None)

# `with block_sizes(AttentionBlocks(query=256)):` overrides the block sizes that a
# kernel's heuristic would choose. One of the operations' dataclasses, or a tuple.
block_sizes = jax.make_user_context(default_value=())


@dataclasses.dataclass(frozen=True)
class TraceContext:
    """The values of the contexts when a call was traced.

    Attributes:
        target: see `target`.
        interpret: see `interpret`.
        block_sizes: see `block_sizes`.
    """

    target: str | None
    interpret: Any
    block_sizes: Any

    @classmethod
    def here(cls) -> "TraceContext":
        """Returns the current values."""
        return cls(target.value, interpret.value, block_sizes.value)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Restores these values within a `with` block."""
        with (
            target(self.target),
            interpret(self.interpret),
            block_sizes(self.block_sizes),
        ):
            yield
