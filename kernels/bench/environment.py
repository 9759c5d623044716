"""What numbers depend on: device, threads, versions, revision."""

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

    `isa` is None where the C++ extension cannot be loaded; git's are None outside of
    a checkout.
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
    """Returns how many threads XLA has on this host's processor."""
    single = "xla_cpu_multi_thread_eigen=false" in os.environ.get("XLA_FLAGS", "")
    return 1 if single else len(os.sched_getaffinity(0))


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Returns the versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # A plain checkout is not installed.
    return found


def git_revision(root: pathlib.Path) -> dict[str, Any]:
    """Returns `git_revision` and `git_dirty`; both None where `root` is no checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        # In a hook, GIT_DIR and its like name the repository that the hook is of.
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
        # An installed package may lie inside somebody else's repository.
        top = pathlib.Path(git("rev-parse", "--show-toplevel"))
        if top.resolve() != root.resolve():
            return nothing
        changes = git("status", "--porcelain", "--untracked-files=no")
        return {"git_revision": git("rev-parse", "HEAD"), "git_dirty": bool(changes)}
    except (OSError, subprocess.SubprocessError):
        return nothing


def host_cpu() -> str:
    """Returns the name of the host's processor."""
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
