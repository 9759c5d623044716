"""Saves and restores the checkpoints of a run, on a disk or in an object store.

A checkpoint holds the state in canonical form (see `canonical`) and JSON metadata (see
`checkpoint_meta`). It is written in the background, by `disk_writer` or `store_writer`,
and appears when it is complete, so that a crash does not affect earlier checkpoints.

In a run of several processes, all of them open the folder and call the same methods in
the same order. Each writes and reads its part of the state. Process 0 alone writes the
metadata and decides which checkpoints are intact.
"""

from collections.abc import Mapping
import errno
import functools
import logging
import os
import tempfile
from typing import Any

from orbax.checkpoint import checkpoint_managers

from clinometer.data import paths
from clinometer.train import errors
from clinometer.train import state as state_lib
from clinometer.train.host import library_noise
from clinometer.train.run import array_files
from clinometer.train.run import canonical
from clinometer.train.run import checkpoint_meta
from clinometer.train.run import consensus
from clinometer.train.run import digests
from clinometer.train.run import disk_writer
from clinometer.train.run import host_copy
from clinometer.train.run import preservation
from clinometer.train.run import store_writer

VALIDATION_LOSS = {"validation/loss": "min"}


class Checkpoints:
    """The checkpoints of one run directory."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        keep_last: int = 1,
        keep_best: int = 0,
        best_by: Mapping[str, str] = VALIDATION_LOSS,
        keep_every_steps: int | None = None,
        read_only: bool = False,
    ):
        """Opens the folder and renames checkpoints with corrupt metadata.

        Args:
            directory: the folder, created if missing, unless `read_only`; or a path in
                an object store, such as `gs://bucket/run/checkpoints`.
            keep_last: number of newest checkpoints to keep.
            keep_best: number of best checkpoints to keep for each metric.
            best_by: the metrics, and whether the "min" or the "max" is best.
            keep_every_steps: also keep the one closest to each multiple of this.
            read_only: whether to write nothing.

        Raises:
            RunError: the folder cannot be read.
        """
        self.directory = paths.resolved(directory)
        self._writer: disk_writer.DiskWriter | store_writer.StoreWriter | None = None
        self._in_flight: int | None = None
        policies: list[Any] = [checkpoint_managers.LatestN(keep_last)]
        for name, mode in best_by.items():
            policies.append(preservation.Best(name, mode, keep_best))
        if keep_every_steps:
            policies.append(checkpoint_managers.EveryNStepsClosest(keep_every_steps))
        self._policy = checkpoint_managers.AnyPreservationPolicy(policies)
        if read_only:
            return
        consensus.from_first(self._set_broken_aside)
        self._writer = self._open()

    def _set_broken_aside(self) -> None:
        for step in self.steps:
            try:
                checkpoint_meta.check(self.directory / str(step))
            except checkpoint_meta.BrokenError as error:
                self._set_aside(step, error)

    def _open(self) -> disk_writer.DiskWriter | store_writer.StoreWriter:
        if paths.is_remote(self.directory):
            return store_writer.StoreWriter(self.directory, self._policy)
        return disk_writer.DiskWriter(self.directory, self._policy)

    @property
    def steps(self) -> list[int]:
        """Steps of the checkpoints, ascending; RunError if the folder is unreadable."""
        try:
            if paths.is_remote(self.directory):
                return store_writer.complete_steps(self.directory)
            names = paths.names(self.directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise errors.RunError(f"{self.directory}: {error.strerror}") from error
        return sorted(int(name) for name in names if name.isdecimal())

    def save(
        self,
        step: int,
        state: state_lib.TrainState,
        *,
        identity: Mapping[str, Any],
        progress: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
        unchanged: bool = False,
    ) -> None:
        """Starts an asynchronous save; does nothing if the step is already saved.

        Args:
            step: number of completed steps.
            state: the state; copied before this returns, so its buffers may be donated.
                The copies are the only memory that a save needs: those of all processes
                together are as large as one copy of the state. Without an optimizer
                state (`optimizer={}`), `read` and `initial` can take its parameters,
                but no run can be resumed from it.
            identity: flat fields that must be unchanged when the run is resumed.
            progress: the host's own values, ready for JSON; those of process 0 are
                saved.
            metrics: metrics of an evaluation at this step, including those of
                `best_by`; None without one.
            unchanged: whether the buffers stay as they are until `wait` returns, so
                that on CPUs they need no copies.

        Raises:
            RunError: this checkpoint or the previous one could not be written.
        """
        if step in self._writer.steps():
            return
        self.wait()
        meta = checkpoint_meta.make(
            identity=identity,
            progress=progress,
            metrics=metrics,
            digests=digests.compute(state),
        )
        arrays = canonical.to_canonical(host_copy.take(state, views=unchanged))
        self._in_flight = step
        try:
            with library_noise.muted():
                self._writer.start(step, arrays, meta)
        except (OSError, ValueError, RuntimeError) as error:
            raise self._failure(error) from error

    def wait(self) -> None:
        """Waits for the save in flight; raises RunError if it failed."""
        try:
            with library_noise.muted():
                self._writer.wait()
        except (OSError, ValueError, RuntimeError) as error:
            raise self._failure(error) from error
        self._in_flight = None

    def _failure(self, error: Exception) -> errors.RunError:
        text = str(error)
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in text
        disk = self.directory
        if paths.is_remote(disk):
            disk = f"{tempfile.gettempdir()}, where it is written first"
        reason = f"no space left on the disk of {disk}" if full else text
        return errors.RunError(
            f"the checkpoint of step {self._in_flight} could not be written: {reason}. "
            f"Intact checkpoints: steps {self.steps or 'none'}; run the same command "
            "to resume"
        )

    def latest_meta(self) -> tuple[int, dict[str, Any]] | None:
        """Returns (step, metadata) of the newest checkpoint with readable metadata."""
        for step in reversed(self.steps):
            try:
                return step, checkpoint_meta.read(self.directory / str(step))
            except checkpoint_meta.BrokenError:
                continue
        return None

    def restore(
        self,
        abstract_state: state_lib.TrainState,
        identity: Mapping[str, Any],
        earlier_identity: Mapping[str, Any] | None = None,
    ) -> tuple[state_lib.TrainState, dict[str, Any]] | None:
        """Restores the newest intact checkpoint.

        A truncated or corrupt checkpoint is renamed to `STEP.corrupt` with a warning,
        and the previous one is tried.

        Args:
            abstract_state: shapes, dtypes and optionally shardings to restore to, which
                may be those of another mesh than it was saved from.
            identity: see `save`.
            earlier_identity: other accepted values of these fields, as written by
                earlier versions of the code.

        Returns:
            (state, progress), or None if there is no intact checkpoint. The buffers of
            the state may be donated.

        Raises:
            RunError: the checkpoint belongs to another run; names what differs.
        """
        if self._writer is not None:
            self.wait()
        for step in reversed(consensus.from_first(lambda: self.steps)):
            try:
                meta = self._read_meta(step)
                place = f"the checkpoint {self.directory / str(step)}"
                checkpoint_meta.check_identity(
                    meta["identity"], identity, place, earlier_identity
                )
                state = self._read_state(step, abstract_state, meta)
            except checkpoint_meta.BrokenError as error:
                set_aside = functools.partial(self._set_aside, step, error)
                consensus.from_first(set_aside)
                with library_noise.muted():
                    self._writer.close()
                self._writer = self._open()
                continue
            return state, meta["progress"]
        return None

    def read(
        self, step: int, abstract_state: state_lib.TrainState
    ) -> state_lib.TrainState:
        """Reads the state of a checkpoint.

        Args:
            step: one of `steps`.
            abstract_state: shapes, dtypes and optionally shardings of the state; with
                `optimizer={}`, only the step and the parameters are read.

        Raises:
            RunError: the checkpoint is corrupt.
        """
        try:
            return self._read_state(step, abstract_state, self._read_meta(step))
        except checkpoint_meta.BrokenError as error:
            raise self._unreadable(step, error) from error

    def saved_digests(self, step: int) -> dict[str, Any]:
        """Returns the saved digests of a checkpoint; raises as `read`."""
        try:
            return checkpoint_meta.read(self.directory / str(step))["digests"]
        except checkpoint_meta.BrokenError as error:
            raise self._unreadable(step, error) from error

    def saved_identity(self, step: int) -> dict[str, Any]:
        """Returns the `identity` of a checkpoint's run; raises as `read`."""
        try:
            return checkpoint_meta.read(self.directory / str(step))["identity"]
        except checkpoint_meta.BrokenError as error:
            raise self._unreadable(step, error) from error

    def measured(self, step: int) -> dict[str, Any] | None:
        """Returns the metrics of a checkpoint, or None; raises as `read`."""
        try:
            return checkpoint_meta.measured(self.directory / str(step))
        except checkpoint_meta.BrokenError as error:
            raise self._unreadable(step, error) from error

    def _unreadable(
        self, step: int, error: checkpoint_meta.BrokenError
    ) -> errors.RunError:
        return errors.RunError(
            f"the checkpoint {self.directory / str(step)} cannot be read: {error}"
        )

    def _read_meta(self, step: int) -> dict[str, Any]:
        """Returns the metadata that process 0 reads."""

        def read() -> tuple[dict[str, Any] | None, str]:
            try:
                return checkpoint_meta.read(self.directory / str(step)), ""
            except checkpoint_meta.BrokenError as error:
                return None, str(error)

        meta, problem = consensus.from_first(read)
        if meta is None:
            raise checkpoint_meta.BrokenError(problem)
        return meta

    def _read_state(
        self, step: int, abstract_state: state_lib.TrainState, meta: Mapping[str, Any]
    ) -> state_lib.TrainState:
        """Reads a state and compares its digests; BrokenError for all processes."""
        target = canonical.abstract(abstract_state)
        partial = not abstract_state.optimizer
        if partial:
            del target["optimizer"]
        folder = self.directory / str(step) / array_files.ITEM
        tree = array_files.read(folder, target, partial=partial)
        state = canonical.assemble({"optimizer": {}, **tree}, abstract_state)
        old = checkpoint_meta.has_crc32(meta)
        found = digests.compute_crc32(state) if old else digests.compute(state)
        saved = meta["digests"]
        if not old and not partial and found.keys() != saved.keys():
            raise checkpoint_meta.BrokenError("the digests are those of other arrays")
        for place, digest in found.items():
            # Earlier versions had no digests of leaves of several processes.
            if (place in saved or not old) and saved.get(place) != digest:
                raise checkpoint_meta.BrokenError(
                    f"the digest of {place} differs from the saved one"
                )
        return state

    def _set_aside(self, step: int, error: checkpoint_meta.BrokenError) -> None:
        path = self.directory / str(step)
        aside = self.directory / f"{step}.corrupt"
        paths.remove_tree(aside)
        paths.move(path, aside)
        logging.warning(
            "checkpoint %s is corrupt (%s); renamed to %s, trying the previous one",
            path,
            error,
            aside.name,
        )

    def close(self) -> None:
        """Waits for the save in flight and closes the folder."""
        if self._writer is not None:
            self.wait()
            self._writer.close()
