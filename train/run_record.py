"""`run.json`: what a run is, where it ran, how fast, and how it ended."""

from collections.abc import Mapping
import datetime
import json
import os
import pathlib
from typing import Any

import jax

from clinometer.kernels.bench import environment as machine

FORMAT_VERSION = 1
FILE_NAME = "run.json"
STATUSES = ("running", "finished", "stopped", "failed")

_ROOT = pathlib.Path(__file__).resolve().parent.parent
# What the compilers read besides the program.
_FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
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
    """Returns git revision, versions, flags and device: what the numbers depend on."""
    first = jax.devices()[0]
    return {
        **machine.git_revision(_ROOT),
        "versions": machine.versions(_PACKAGES),
        "flags": {name: os.environ[name] for name in _FLAGS if name in os.environ},
        "device": {
            "platform": first.platform,
            "kind": first.device_kind,
            "count": jax.device_count(),
            "threads": machine.threads(),
            "host_cpu": machine.host_cpu(),
        },
    }
