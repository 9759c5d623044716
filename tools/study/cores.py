"""Cores for runs: which there are, and which another study of this machine holds."""

import contextlib
import os
import pathlib
import socket

from clinometer.kernels.bench import cpu_quota

# In no folder: the kernel keeps these names, for all users.
_SOCKET = "\0clinometer-core-{}"
_CORES = pathlib.Path("/sys/devices/system/cpu")


def usable() -> list[int]:
    """Numbers of the cores this process may use; hardware threads of one come last."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    cores = sorted(os.sched_getaffinity(0))
    return sorted(cores, key=lambda core: (_place_among_siblings(core, cores), core))


def count() -> int:
    """How many runs fit beside each other: cores, or a container's share of them."""
    quota = cpu_quota.cpu_quota()
    cores = len(usable())
    return cores if quota is None else max(1, min(cores, int(quota)))


class Claim:
    """A core that no other study of this machine gives to a run, until it is closed.

    It is the name of a socket, which the kernel gives to one process of all users, and
    takes back when the last process that holds it has gone, in whatever way.
    """

    def __init__(self, core: int, held: socket.socket):
        self.core, self._held = core, held

    @property
    def descriptor(self) -> int:
        """What a run inherits, so that the claim lasts as long as it does."""
        return self._held.fileno()

    def close(self) -> None:
        """Gives up this process's part of the claim."""
        self._held.close()


def claim() -> Claim | None:
    """Takes a free core, on Linux; None where there is none."""
    for core in usable():
        held = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            held.bind(_SOCKET.format(core))
            return Claim(core, held)
        held.close()
    return None


def _place_among_siblings(core: int, cores: list[int]) -> int:
    path = _CORES / f"cpu{core}" / "topology" / "thread_siblings_list"
    try:
        text = path.read_text(encoding="ascii").strip()  # such as "0,4" or "0-1"
        siblings = [
            other
            for part in text.split(",")
            for other in range(int(part.split("-")[0]), int(part.split("-")[-1]) + 1)
        ]
    except (OSError, ValueError):
        return 0
    return [other for other in siblings if other in cores].index(core)
