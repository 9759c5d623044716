"""The validation losses of each row, `validation_rows.npz`, at the last evaluation.

They compare two trained models on the same rows. Rows of padding are not stored.
"""

from collections.abc import Mapping
import dataclasses
import hashlib

import numpy as np

from clinometer.data import paths
from clinometer.train import errors
from clinometer.train.run import npz_file

FILE_NAME = "validation_rows.npz"
_FIELDS = {"digests": np.uint64, "losses": np.float64, "targets": np.int64}


@dataclasses.dataclass(frozen=True, eq=False)
class ValidationRows:
    """Losses of the N rows of a validation set.

    Attributes:
        step: number of completed training steps.
        digests: of the content of each row, uint64 [N].
        losses: cross-entropy summed over the targets of each row, nats, float64 [N].
        targets: number of targets of each row, without padding, int64 [N].
    """

    step: int
    digests: np.ndarray
    losses: np.ndarray
    targets: np.ndarray


def digests(batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns a digest of each row of a batch, uint64 [B].

    Args:
        batch: arrays with a leading axis of B rows.
    """
    names = sorted(batch)
    found = []
    for parts in zip(*(np.ascontiguousarray(batch[name]) for name in names)):
        digest = hashlib.blake2b(digest_size=8)
        for name, part in zip(names, parts):
            digest.update(name.encode() + np.ascontiguousarray(part).tobytes())
        found.append(int.from_bytes(digest.digest(), "little"))
    return np.array(found, np.uint64)


def write(path: paths.PathLike, rows: ValidationRows) -> None:
    """Writes a file atomically.

    Args:
        path: path of the file.
        rows: the losses.
    """
    arrays = {name: getattr(rows, name) for name in _FIELDS}
    npz_file.write(path, step=np.int64(rows.step), **arrays)


def read(path: paths.PathLike) -> ValidationRows | None:
    """Reads a file; returns None if there is none, as of runs of earlier versions.

    Args:
        path: path of the file.

    Raises:
        RunError: the file cannot be read, or its content is invalid.
    """
    rows = npz_file.read(path, _parse)
    if rows is None:
        return None
    sizes = {getattr(rows, name).shape for name in _FIELDS}
    if len(sizes) != 1 or len(rows.digests.shape) != 1 or not rows.digests.size:
        raise errors.RunError(
            f"{path}: its arrays have the shapes {sorted(sizes)}; accepted: one value "
            "per row in each, for at least one row"
        )
    return rows


def _parse(file: Mapping[str, np.ndarray]) -> ValidationRows:
    arrays = {name: np.asarray(file[name], kind) for name, kind in _FIELDS.items()}
    return ValidationRows(int(file["step"]), **arrays)
