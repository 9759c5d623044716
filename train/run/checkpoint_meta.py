"""What stands beside the state in a checkpoint, as JSON under a digest of its own.

`identity` says what the run is, `progress` holds the host's running values, `metrics`
what was measured, and `digests` the CRC-32 of every leaf of the state.
"""

from collections.abc import Mapping
import json
import pathlib
from typing import Any
import zlib

import orbax.checkpoint as ocp

from clinometer.train import errors
from clinometer.train.run import json_file

ITEM = "meta"
NUMERICS = "numerics."  # Prefix of the fields of an identity that are settings of JAX.
# Orbax and tensorstore report a broken file by these, or by a bare Exception from one.
BROKEN = (
    ValueError,
    OSError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
_FORMAT_VERSION = 1
_FIELDS = {"format_version", "identity", "progress", "digests"}
_GUARDED_FIELDS = {"metrics", "digest"}  # Those of older checkpoints lack them.


class BrokenError(Exception):
    """A file of a checkpoint is missing, or does not hold what was written."""


def make(
    *,
    identity: Mapping[str, Any],
    progress: Mapping[str, Any],
    metrics: Mapping[str, Any] | None,
    digests: Mapping[str, int],
) -> dict[str, Any]:
    """Returns the meta of a checkpoint, its digest included."""
    meta = {
        "format_version": _FORMAT_VERSION,
        "identity": dict(identity),
        "progress": dict(progress),
        "metrics": metrics and dict(metrics),
        "digests": dict(digests),
    }
    meta = json_file.loads(json_file.dumps(meta))  # As it will be read.
    return {**meta, "digest": _digest(meta)}


def _read_object(checkpoint: pathlib.Path, name: str) -> dict[str, Any]:
    """Returns the object that a file of a checkpoint holds.

    Raises:
        BrokenError: it is missing, or holds none.
        RunError: it may not be read.
    """
    try:
        return json_file.read_object(checkpoint / name)
    except PermissionError as error:
        raise errors.RunError(f"cannot read {checkpoint / name}: {error}") from error
    except OSError as error:
        raise BrokenError(f"{name}: {error.strerror}") from error
    except ValueError as error:
        raise BrokenError(f"{name}: {error}") from error


def read(checkpoint: pathlib.Path) -> dict[str, Any]:
    """Returns the meta of a checkpoint.

    Raises:
        BrokenError: it is missing, or is not what was written.
        RunError: it may not be read, or a later version wrote it.
    """
    name = f"{ITEM}/metadata"  # So Orbax calls what JsonSave writes.
    meta = _read_object(checkpoint, name)
    guarded = "digest" in meta
    if guarded and meta["digest"] != _digest(meta):
        raise BrokenError(f"{name}: its digest differs from the saved one")
    known = meta.keys() == (_FIELDS | _GUARDED_FIELDS if guarded else _FIELDS)
    version = meta.get("format_version")
    later = isinstance(version, int) and version > _FORMAT_VERSION
    if later and (guarded or not known):
        raise errors.RunError(
            f"{checkpoint}: format_version is {version}; this version reads "
            f"{_FORMAT_VERSION}"
        )
    if not known:
        raise BrokenError(f"{name}: its fields are {', '.join(sorted(meta))}")
    for field in _FIELDS - {"format_version"}:
        if not isinstance(meta[field], dict):
            raise BrokenError(f"{name}: {field} is no object")
    return meta


def measured(checkpoint: pathlib.Path) -> dict[str, Any] | None:
    """Returns what was measured at a checkpoint; raises as `read`."""
    meta = read(checkpoint)
    if "metrics" in meta:
        return meta["metrics"]
    name = "metrics/metrics"  # Older checkpoints have a file of it.
    return _read_object(checkpoint, name) if (checkpoint / name).exists() else None


def check(checkpoint: pathlib.Path) -> None:
    """Raises as `read` where we or Orbax could not list the checkpoint."""
    measured(checkpoint)
    name = "_CHECKPOINT_METADATA"
    if (checkpoint / name).exists():  # Orbax does without it, but not with any value.
        _read_object(checkpoint, name)
    layout = ocp.path.step.standard_name_format()
    try:
        step = layout.find_step(str(checkpoint.parent), int(checkpoint.name))
        _ = step.commit_timestamp  # Orbax reads it of every checkpoint when it starts.
    except BROKEN as error:
        raise BrokenError(f"{name}: {error}") from error


def check_identity(
    saved: Mapping[str, Any],
    own: Mapping[str, Any],
    place: str,
    earlier: Mapping[str, Any] | None = None,
) -> None:
    """Raises RunError naming every field in which a checkpoint is of another run.

    Args:
        saved: the checkpoint's fields.
        own: this run's.
        place: the checkpoint's, for the message.
        earlier: values of this run's fields in earlier versions.
    """
    # Those of earlier versions, and of other versions of JAX, say less of its settings.
    settings = {f for f in saved.keys() ^ own.keys() if f.startswith(NUMERICS)}
    fields = sorted((saved.keys() | own.keys()) - settings)
    missing = "(absent)"
    formerly = {**own, **(earlier or {})}
    different = [
        field
        for field in fields
        if saved.get(field, missing)
        not in (own.get(field, missing), formerly.get(field, missing))
    ]
    if not different:
        return
    listed = "; ".join(
        f"{field} is {own.get(field, missing)!r} here, "
        f"{saved.get(field, missing)!r} there"
        for field in different
    )
    raise errors.RunError(
        f"{place} is of another run: {listed}. Use the same values, or another "
        "--workdir"
    )


def _digest(meta: Mapping[str, Any]) -> int:
    said = {name: value for name, value in meta.items() if name != "digest"}
    return zlib.crc32(json.dumps(said, sort_keys=True).encode())
