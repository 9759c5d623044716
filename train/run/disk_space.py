"""Checks that the checkpoints of a run fit on the disk."""

import os
import pathlib
import shutil

import jax

from clinometer.train import errors
from clinometer.train import state as state_lib
from clinometer.train.run import consensus


def num_bytes(abstract_state: state_lib.TrainState) -> int:
    """Returns the size of a whole state in bytes; the leaves may be abstract."""
    leaves = jax.tree.leaves(abstract_state)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def check(
    directory: str | os.PathLike[str],
    needed: int,
    field: str = "checkpoint.keep_last",
) -> None:
    """Checks that a disk has enough free space; process 0 checks it for all.

    Args:
        directory: folder of the checkpoints, which need not exist. Object stores, with
            paths such as `gs://bucket/run`, are not checked.
        needed: number of bytes needed, by all processes together.
        field: configuration field to reduce, for the message.

    Raises:
        RunError: fewer bytes are free.
    """
    consensus.from_first(lambda: _check(os.fspath(directory), needed, field))


def _check(directory: str, needed: int, field: str) -> None:
    if "://" in directory:
        return
    path = pathlib.Path(directory)
    existing = next(p for p in [path, *path.parents] if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise errors.RunError(
            f"{directory}: the checkpoints need {needed / 1e6:,.0f} MB more, but the "
            f"disk has {free / 1e6:,.0f} MB free; free some space or keep fewer "
            f"(--config.{field})"
        )
