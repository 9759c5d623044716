"""What the numbers of a benchmark depend on: device, threads, versions, revision."""

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
    single = "xla_cpu_multi_thread_eigen=false" in os.environ.get("XLA_FLAGS", "")
    return {
        "device": jax.devices()[0].device_kind,
        "host_cpu": _host_cpu(),
        "threads": 1 if single else len(os.sched_getaffinity(0)),
        "isa": _isa(),
        "versions": _versions(),
        **_git(),
    }


def _isa() -> str | None:
    if wrap.unavailable():
        return None
    from clinometer.kernels.cpu import native

    return native.active_isa()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git() -> dict[str, Any]:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(_ROOT), *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=20
        ).stdout.strip()

    nothing = {"git_revision": None, "git_dirty": None}
    try:
        # An installed package may lie inside somebody else's repository.
        if pathlib.Path(git("rev-parse", "--show-toplevel")).resolve() != _ROOT:
            return nothing
        changes = git("status", "--porcelain", "--untracked-files=no")
        return {"git_revision": git("rev-parse", "HEAD"), "git_dirty": bool(changes)}
    except (OSError, subprocess.SubprocessError):
        return nothing


def _host_cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
