"""Writes checkpoints to a disk, which all processes of the run share, with Orbax."""

from collections.abc import Mapping
import os
import time
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import args as orbax_args
from orbax.checkpoint import checkpoint_managers

from clinometer.data import paths
from clinometer.train import errors
from clinometer.train.run import array_files
from clinometer.train.run import checkpoint_meta
from clinometer.train.run import consensus

# A network file system may show new files late.
_SHOWN_WITHIN_SECONDS = 60.0


class _Manager(ocp.CheckpointManager):
    """Orbax's manager, with the metrics read from our metadata."""

    def metrics(self, step: int) -> dict[str, Any] | None:
        """Returns the metrics of a checkpoint, by which Orbax selects the best."""
        try:
            return checkpoint_meta.measured(self.directory / str(step))
        except checkpoint_meta.BrokenError:  # Damaged after the folder was opened.
            return None


class DiskWriter:
    """Writes the checkpoints of a folder in the background.

    Orbax writes them under a temporary name and then renames them.
    """

    def __init__(
        self,
        directory: paths.AnyPath,
        policy: checkpoint_managers.PreservationPolicy,
    ):
        """Opens the folder, which is created if missing.

        Args:
            directory: path of the folder.
            policy: which checkpoints to keep.

        Raises:
            RunError: the processes of the run do not share the folder.
        """
        paths.make_folder(directory)
        _check_shared(directory)
        self._manager = _Manager(
            directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy, cleanup_tmp_directories=True, create=True
            ),
            item_handlers={
                array_files.ITEM: array_files.handler(),
                checkpoint_meta.ITEM: ocp.JsonCheckpointHandler(),
            },
        )

    def steps(self) -> list[int]:
        """Returns the steps of the checkpoints, including one that is being written."""
        return list(self._manager.all_steps())

    def start(self, step: int, arrays: Any, meta: Mapping[str, Any]) -> None:
        """Starts to write a checkpoint.

        Args:
            step: its step.
            arrays: this process's `host_copy.HostCopy`, in canonical form.
            meta: the metadata.
        """
        items = {
            array_files.ITEM: orbax_args.PyTreeSave(arrays),
            checkpoint_meta.ITEM: orbax_args.JsonSave(dict(meta)),
        }
        self._manager.save(
            step, args=orbax_args.Composite(**items), metrics=meta["metrics"]
        )

    def wait(self) -> None:
        """Waits until the checkpoint is written; raises what went wrong."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for the deletion of old checkpoints."""
        self._manager.close()


def _check_shared(directory: paths.AnyPath) -> None:
    """Raises RunError in all processes unless all of them see the same folder."""
    if jax.process_count() == 1:
        return
    name = f".shared-{os.getpid()}-{time.time_ns()}"

    def write() -> str:
        paths.write_bytes(directory / name, b"")
        return name

    probe = directory / consensus.from_first(write)
    end = time.monotonic() + _SHOWN_WITHIN_SECONDS
    while not (seen := paths.exists(probe)) and time.monotonic() < end:
        paths.names(directory)  # Makes NFS look again.
        time.sleep(0.1)
    problem = None
    if not seen:
        problem = (
            f"process {jax.process_index()} does not see the files of process 0 in "
            f"{directory}; all processes need the same folder, on a file system that "
            "they share or in an object store, such as gs://bucket/run"
        )
    problem = consensus.any_message(problem)
    consensus.from_first(lambda: paths.remove(probe))
    if problem is not None:
        raise errors.RunError(problem)
