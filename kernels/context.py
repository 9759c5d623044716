"""What is set around a call and heeded at its lowering; a part of jit's cache key."""

from collections.abc import Iterator
import contextlib
import dataclasses
from typing import Any

import jax

# The device kind that programs are lowered for, e.g. `with target("TPU v5e"):`; None
# stands for that of the program's devices.
target = jax.make_user_context(default_value=None)

# `with interpret(pltpu.InterpretParams()):` lets implementations that declare it, the
# Pallas kernels, run anywhere, slowly, on a simulated memory: to test them elsewhere.
interpret = jax.make_user_context(default_value=None)

# `with block_sizes(AttentionBlocks(query=256)):` names sizes in place of what a
# kernel's heuristic takes. A tuple, or one alone, of the operations' own dataclasses.
block_sizes = jax.make_user_context(default_value=())


@dataclasses.dataclass(frozen=True)
class TraceContext:
    """What was set around a call when it was traced."""

    target: str | None
    interpret: Any
    block_sizes: Any

    @classmethod
    def here(cls) -> "TraceContext":
        """Returns what is set now."""
        return cls(target.value, interpret.value, block_sizes.value)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Sets the same again."""
        with (
            target(self.target),
            interpret(self.interpret),
            block_sizes(self.block_sizes),
        ):
            yield
