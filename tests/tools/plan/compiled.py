"""A compiled step for tests, made by hand."""

from clinometer.tests.tools.plan import programs
from clinometer.tools.plan import request
from clinometer.tools.plan import step_cache
from clinometer.tools.plan import step_compiler

REQUEST = request.Request("transformer-pico", "v3:2x2x1", fields={"dtype": "bfloat16"})
FACTS = {
    "device_kind": "TPU v3",
    "devices": 8,
    "chips": 4,
    "cores_per_device": 1,
    "mesh": {"data": 4, "fsdp": 1, "expert": 1, "model": 2},
    "choices": ["relative_attention (forward): reference"],
    "versions": {"libtpu": "0.0.51"},
}


def step(
    *, temporary_bytes: int = 2**30, reason: str | None = None
) -> step_compiler.Compiled:
    """Returns a step that was compiled, or rejected for a reason.

    Args:
        temporary_bytes: bytes of temporaries.
        reason: why it was rejected, or None.
    """
    memory = step_cache.Memory(2**20, temporary_bytes, 2**10)
    entry = step_cache.Entry(FACTS, None, memory, programs.LOOP, {}, 12.5)
    if reason is not None:
        entry = step_cache.Entry(FACTS, reason, None, "", {}, 12.5)
    return step_compiler.Compiled("0123456789abcdef" * 2, False, entry)
