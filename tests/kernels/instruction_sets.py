"""What Linux says of the processor's instruction sets."""

import pathlib
import re


def widest() -> str:
    """Returns the fastest set of the C++ kernels that this processor runs."""
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    names = set(flags.group(1).split()) if flags else set()
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= names:
        if {"avx512_bf16", "amx_bf16", "amx_tile"} <= names:
            return "amx"
        is_fast = "avx512_bf16" in names and "AuthenticAMD" in text
        return "avx512_bf16" if is_fast else "avx512"
    return "avx2" if {"avx2", "fma"} <= names else "baseline"
