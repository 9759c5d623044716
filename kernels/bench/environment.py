"""Describes the conditions of a measurement: device, threads, versions, revision."""

from collections.abc import Sequence
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

import jax

from clinometer.kernels.cpu import wrap

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PACKAGES = ("jax", "jaxlib", "numpy", "torch")


def describe() -> dict[str, Any]:
    """Returns device, host_cpu, threads, isa, versions, git_revision and git_dirty.

    `isa` is None if the C++ extension cannot be loaded; `git_revision` and `git_dirty`
    are None outside a checkout.
    """
    return {
        "device": jax.devices()[0].device_kind,
        "host_cpu": host_cpu(),
        "threads": threads(),
        "isa": _isa(),
        "versions": versions(_PACKAGES),
        **git_revision(_ROOT),
    }


def threads() -> int:
    """Returns the number of threads that XLA uses on the host's CPU."""
    single = "xla_cpu_multi_thread_eigen=false" in os.environ.get("XLA_FLAGS", "")
    return 1 if single else len(os.sched_getaffinity(0))


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Returns the versions of Python and of the installed ones among `packages`."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # Not installed, as a plain checkout is.
    return found


def git_revision(root: pathlib.Path) -> dict[str, Any]:
    """Returns `git_revision` and `git_dirty`; both None if `root` is not a checkout.

    Args:
        root: the folder of the checkout.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        # In a git hook, GIT_DIR and similar variables name the hook's repository.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        return subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=20,
            env=inherited,
        ).stdout.strip()

    nothing = {"git_revision": None, "git_dirty": None}
    try:
        # An installed package may be inside an unrelated repository.
        top = pathlib.Path(git("rev-parse", "--show-toplevel"))
        if top.resolve() != root.resolve():
            return nothing
        changes = git("status", "--porcelain", "--untracked-files=no")
        return {"git_revision": git("rev-parse", "HEAD"), "git_dirty": bool(changes)}
    except (OSError, subprocess.SubprocessError):
        return nothing


def host_cpu() -> str:
    """Returns the model name of the host's CPU."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _isa() -> str | None:
    if wrap.unavailable():
        return None
    from clinometer.kernels.cpu import native

    return native.active_isa()
