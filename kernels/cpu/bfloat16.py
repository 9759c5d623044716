"""Whether this machine's processor multiplies bfloat16 numbers."""

import functools
import pathlib

# As Linux lists them: dot products in AVX-512, or tiles of matrices (AMX).
INSTRUCTIONS = ("avx512_bf16", "amx_bf16")

_CPU_INFO = pathlib.Path("/proc/cpuinfo")


@functools.cache
def is_multiplied() -> bool:
    """Returns whether the processor has one of `INSTRUCTIONS`; False if not known."""
    try:
        lines = _CPU_INFO.read_text().splitlines()
    except OSError:  # No Linux.
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return any(name in flags.split() for name in INSTRUCTIONS)
