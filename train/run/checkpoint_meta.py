"""JSON metadata of a checkpoint, protected by a digest.

`identity` identifies the run, `progress` holds the host's own values, `metrics` the
results of an evaluation at this step, and `digests` the digest of every leaf of the
state: those of `digests.compute`, or with `format_version` 1 the CRC-32.
"""

from collections.abc import Mapping
import json
from typing import Any
import zlib

import orbax.checkpoint as ocp

from clinometer.data import paths
from clinometer.train import errors
from clinometer.train.run import json_file

ITEM = "meta"
FILE = f"{ITEM}/metadata"  # Orbax's name for the file that JsonSave writes.
ABSENT = "(absent)"  # Value of a field that an identity lacks.
CONVERTED = "converted"  # Identity field of a run that was not trained here.
NUMERICS = "numerics."  # Prefix of the identity fields that are JAX settings.
# Orbax and tensorstore raise one of these for a broken file, or a plain Exception with
# one of these as its cause.
BROKEN = (
    ValueError,
    OSError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
_FORMAT_VERSION = 2
_CRC32_VERSION = 1
_FIELDS = {"format_version", "identity", "progress", "digests"}
# Earlier name of an identity field -> its name.
_RENAMED = {"data.seed": "data.order"}
_GUARDED_FIELDS = {"metrics", "digest"}  # Missing in older checkpoints.


class BrokenError(Exception):
    """A file of a checkpoint is missing or corrupt."""


def make(
    *,
    identity: Mapping[str, Any],
    progress: Mapping[str, Any],
    metrics: Mapping[str, Any] | None,
    digests: Mapping[str, str],
) -> dict[str, Any]:
    """Builds the metadata of a checkpoint.

    Args:
        identity: flat fields that identify the run.
        progress: the host's own values, ready for JSON.
        metrics: results of an evaluation at this step, or None.
        digests: digest of each leaf of the state, by its path.

    Returns:
        The metadata, including its own digest.
    """
    meta = {
        "format_version": _FORMAT_VERSION,
        "identity": dict(identity),
        "progress": dict(progress),
        "metrics": metrics and dict(metrics),
        "digests": dict(digests),
    }
    meta = json_file.loads(json_file.dumps(meta))  # As a reader will see it.
    return {**meta, "digest": _digest(meta)}


def _read_object(checkpoint: paths.AnyPath, name: str) -> dict[str, Any]:
    """Reads a JSON object from a file of a checkpoint.

    Raises:
        BrokenError: the file is missing or does not hold a JSON object.
        RunError: there is no permission to read the file, or the object store cannot
            be read.
    """
    try:
        return json_file.read_object(checkpoint / name)
    except OSError as error:
        lost = paths.is_remote(checkpoint) and not isinstance(error, FileNotFoundError)
        if lost or isinstance(error, PermissionError):
            raise errors.RunError(
                f"cannot read {checkpoint / name}: {error}"
            ) from error
        raise BrokenError(f"{name}: {error.strerror}") from error
    except ValueError as error:
        raise BrokenError(f"{name}: {error}") from error


def read(checkpoint: paths.AnyPath) -> dict[str, Any]:
    """Reads the metadata of a checkpoint.

    Args:
        checkpoint: folder of the checkpoint.

    Raises:
        BrokenError: the metadata is missing or corrupt.
        RunError: there is no permission to read it, or a later version of the code
            wrote it.
    """
    name = FILE
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
        raise BrokenError(f"{name}: its fields are wrong: {', '.join(sorted(meta))}")
    for field in _FIELDS - {"format_version"}:
        if not isinstance(meta[field], dict):
            raise BrokenError(f"{name}: {field} is not a JSON object")
    return meta


def has_crc32(meta: Mapping[str, Any]) -> bool:
    """Returns whether the digests in the metadata of a checkpoint are CRC-32."""
    # Before metadata had a digest of its own, the version was not protected.
    return "digest" not in meta or meta["format_version"] == _CRC32_VERSION


def measured(checkpoint: paths.AnyPath) -> dict[str, Any] | None:
    """Returns the metrics of the evaluation at a checkpoint, or None without one.

    Args:
        checkpoint: folder of the checkpoint.

    Raises:
        BrokenError: see `read`.
        RunError: see `read`.
    """
    meta = read(checkpoint)
    if "metrics" in meta:
        return meta["metrics"]
    name = "metrics/metrics"  # Older checkpoints store them in a separate file.
    return _read_object(checkpoint, name) if paths.exists(checkpoint / name) else None


def check(checkpoint: paths.AnyPath) -> None:
    """Checks that this module and Orbax can list a checkpoint.

    Args:
        checkpoint: folder of the checkpoint.

    Raises:
        BrokenError: a file is missing or corrupt.
        RunError: see `read`.
    """
    measured(checkpoint)
    name = "_CHECKPOINT_METADATA"
    if paths.exists(checkpoint / name):  # Optional for Orbax, but not if it is corrupt.
        _read_object(checkpoint, name)
    if paths.is_remote(checkpoint):  # Which Orbax does not list.
        return
    layout = ocp.path.step.standard_name_format()
    try:
        step = layout.find_step(str(checkpoint.parent), int(checkpoint.name))
        _ = step.commit_timestamp  # Orbax reads this for all checkpoints at its start.
    except BROKEN as error:
        raise BrokenError(f"{name}: {error}") from error


def check_identity(
    saved: Mapping[str, Any],
    own: Mapping[str, Any],
    place: str,
    earlier: Mapping[str, Any] | None = None,
) -> None:
    """Checks that a checkpoint belongs to this run.

    Args:
        saved: identity stored in the checkpoint.
        own: identity of this run.
        place: description of the checkpoint, for messages.
        earlier: other accepted values of `own`, as written by earlier versions of the
            code.

    Raises:
        RunError: the identities differ; the message names every field that differs.
    """
    different = differences(saved, own, earlier)
    if different:
        raise errors.RunError(
            f"{place} belongs to another run: {different}. Use the same values or "
            "another --workdir"
        )


def differences(
    saved: Mapping[str, Any],
    own: Mapping[str, Any],
    earlier: Mapping[str, Any] | None = None,
) -> str:
    """Returns the fields in which two identities differ, or "".

    Args:
        saved: identity stored in a checkpoint.
        own: identity of this run.
        earlier: see `check_identity`.
    """
    saved = {_RENAMED.get(field, field): value for field, value in saved.items()}
    # Other versions of JAX, and earlier versions of the code, lack some JAX settings.
    settings = {f for f in saved.keys() ^ own.keys() if f.startswith(NUMERICS)}
    fields = sorted((saved.keys() | own.keys()) - settings)
    formerly = {**own, **(earlier or {})}
    different = [
        field
        for field in fields
        if saved.get(field, ABSENT)
        not in (own.get(field, ABSENT), formerly.get(field, ABSENT))
    ]
    return "; ".join(
        f"{field} is {own.get(field, ABSENT)!r} here, "
        f"{saved.get(field, ABSENT)!r} there"
        for field in different
    )


def _digest(meta: Mapping[str, Any]) -> int:
    said = {name: value for name, value in meta.items() if name != "digest"}
    return zlib.crc32(json.dumps(said, sort_keys=True).encode())
