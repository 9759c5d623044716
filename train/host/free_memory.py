"""Reads how much memory of the host this process may still use."""

import pathlib

from clinometer.kernels.bench import cgroups

_LIMITS = {1: "memory.limit_in_bytes", 2: "memory.max"}  # By version of cgroups.


def available(root: pathlib.Path = pathlib.Path("/")) -> int | None:
    """Returns the available bytes, at most the limit of a container; None if unknown.

    Args:
        root: the root of the file system to read.
    """
    words = cgroups.words(root / "proc/meminfo")
    if "MemAvailable:" not in words:
        return None
    kibibytes = words[words.index("MemAvailable:") + 1]
    limits = [1024 * int(kibibytes)]
    for version, group in cgroups.folders("memory", root):
        found = cgroups.words(group / _LIMITS[version])
        limits += [int(word) for word in found if word.isdecimal()]
    return min(limits)
