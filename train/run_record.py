"""`run.json`: what a run is, where it ran, how fast, and how it ended."""

from collections.abc import Mapping
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
from typing import Any

import jax

FORMAT_VERSION = 1
FILE_NAME = "run.json"
STATUSES = ("running", "finished", "stopped", "failed")

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PACKAGES = (
    "clinometer",
    "dm-haiku",
    "grain",
    "jax",
    "jaxlib",
    "ml_collections",
    "numpy",
    "optax",
    "orbax-checkpoint",
)


def read(directory: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Returns the record of a run directory, or None where there is none."""
    path = pathlib.Path(directory) / FILE_NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write(directory: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Writes the record by rename, so that a reader sees a whole one at any moment."""
    if record["status"] not in STATUSES:
        raise ValueError(
            f"status {record['status']!r}; accepted: {', '.join(STATUSES)}"
        )
    path = pathlib.Path(directory) / FILE_NAME
    temporary = path.with_name(path.name + ".tmp")
    stamped = {**record, "updated_at": now()}
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(stamped, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def now() -> str:
    """Returns the time in UTC, e.g. 2026-01-31T12:00:00Z."""
    moment = datetime.datetime.now(datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def environment() -> dict[str, Any]:
    """Returns git revision, versions and device: what the numbers depend on."""
    return {**git_revision(_ROOT), "versions": versions(), "device": device()}


def git_revision(root: pathlib.Path) -> dict[str, Any]:
    """Returns `git_revision` and `git_dirty`; both None where `root` is no checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=20,
        ).stdout.strip()

    try:
        # An installed package may lie inside somebody else's repository.
        if (
            pathlib.Path(git("rev-parse", "--show-toplevel")).resolve()
            != root.resolve()
        ):
            return {"git_revision": None, "git_dirty": None}
        changes = git("status", "--porcelain", "--untracked-files=no")
        return {"git_revision": git("rev-parse", "HEAD"), "git_dirty": bool(changes)}
    except (OSError, subprocess.SubprocessError):
        return {"git_revision": None, "git_dirty": None}


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # A plain checkout is not installed.
    return found


def device() -> dict[str, Any]:
    """Returns the accelerator and the host's processor."""
    first = jax.devices()[0]
    single = "xla_cpu_multi_thread_eigen=false" in os.environ.get("XLA_FLAGS", "")
    return {
        "platform": first.platform,
        "kind": first.device_kind,
        "count": jax.device_count(),
        "threads": 1 if single else len(os.sched_getaffinity(0)),
        "host_cpu": _host_cpu(),
    }


def _host_cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
