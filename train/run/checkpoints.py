"""Saves and restores checkpoints with Orbax.

A checkpoint holds the state in canonical form (one module name per layer) and JSON
metadata (see `checkpoint_meta`). Orbax saves asynchronously under a temporary name and
then renames, so that a crash does not affect earlier checkpoints.
"""

from collections.abc import Mapping
import errno
import logging
import os
import pathlib
import shutil
from typing import Any
import zlib

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import args as orbax_args
from orbax.checkpoint import checkpoint_managers

from clinometer import models
from clinometer.train import errors
from clinometer.train import state as state_lib
from clinometer.train.host import library_noise
from clinometer.train.run import checkpoint_meta
from clinometer.train.run import preservation

VALIDATION_LOSS = {"validation/loss": "min"}
_STATE = "state"


def to_canonical(state: state_lib.TrainState) -> dict[str, Any]:
    """Converts a state, stacked or not, to canonical form; traceable.

    Returns:
        A dict with "step", "params" as `{module: {name: array}}` and "optimizer" as
        `{slot: {module: {name: array}}}`. A slot is one array of the optimizer state of
        a leaf, named by its path in that state.
    """
    slots: dict[str, dict[str, dict[str, Any]]] = {}
    for module, leaves in state.optimizer.items():
        for name, leaf_state in leaves.items():
            for path, array in jax.tree_util.tree_flatten_with_path(leaf_state)[0]:
                slot = slots.setdefault(jax.tree_util.keystr(path), {})
                slot.setdefault(module, {})[name] = array
    return {
        "step": state.step,
        "params": models.unstack_params(state.params),
        "optimizer": {slot: models.unstack_params(t) for slot, t in slots.items()},
    }


def from_canonical(
    tree: Mapping[str, Any], like: state_lib.TrainState
) -> state_lib.TrainState:
    """Inverts `to_canonical`; `like` is a state in the form (stacked or not) wanted."""
    stacked = any(models.is_stacked(module) for module in like.params)
    form = models.stack_params if stacked else dict
    slots = {slot: form(slot_tree) for slot, slot_tree in tree["optimizer"].items()}
    optimizer = {}
    for module, leaves in like.optimizer.items():
        optimizer[module] = {}
        for name, leaf_state in leaves.items():
            paths, treedef = jax.tree_util.tree_flatten_with_path(leaf_state)
            optimizer[module][name] = treedef.unflatten(
                slots[jax.tree_util.keystr(path)][module][name] for path, _ in paths
            )
    return state_lib.TrainState(tree["step"], form(tree["params"]), optimizer)


def digests(tree: Any) -> dict[str, int]:
    """Returns the CRC-32 of the bytes of each leaf, by its path in the tree.

    Leaves that are sharded over several processes are skipped.
    """
    return {
        jax.tree_util.keystr(path): zlib.crc32(np.ascontiguousarray(leaf))
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable
    }


def num_bytes(abstract_state: state_lib.TrainState) -> int:
    """Returns the size of a state in bytes; the leaves may be abstract."""
    leaves = jax.tree.leaves(abstract_state)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def check_space(
    directory: pathlib.Path, needed: int, field: str = "checkpoint.keep_last"
) -> None:
    """Checks that a disk has enough free space.

    Args:
        directory: folder of the checkpoints; it need not exist.
        needed: number of bytes needed.
        field: configuration field to reduce, for the message.

    Raises:
        RunError: fewer bytes are free.
    """
    existing = next(p for p in [directory, *directory.parents] if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise errors.RunError(
            f"{directory}: the checkpoints need {needed / 1e6:,.0f} MB more, but the "
            f"disk has {free / 1e6:,.0f} MB free; free some space or keep fewer "
            f"(--config.{field})"
        )


class _Manager(ocp.CheckpointManager):
    """Orbax's manager, with the metrics read from our metadata."""

    def metrics(self, step: int) -> dict[str, Any] | None:
        """Returns the metrics of a checkpoint, by which Orbax selects the best."""
        try:
            return checkpoint_meta.measured(pathlib.Path(self.directory) / str(step))
        except checkpoint_meta.BrokenError:  # Damaged after the folder was opened.
            return None


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
            directory: the folder; created if missing, unless `read_only`.
            keep_last: number of newest checkpoints to keep.
            keep_best: number of best checkpoints to keep for each metric.
            best_by: the metrics, and whether the "min" or the "max" is best.
            keep_every_steps: also keep the one closest to each multiple of this.
            read_only: whether to write nothing.

        Raises:
            RunError: the folder cannot be read.
        """
        self.directory = pathlib.Path(directory).resolve()
        self._manager: ocp.CheckpointManager | None = None
        self._in_flight: int | None = None
        policies: list[Any] = [checkpoint_managers.LatestN(keep_last)]
        for name, mode in best_by.items():
            policies.append(preservation.Best(name, mode, keep_best))
        if keep_every_steps:
            policies.append(checkpoint_managers.EveryNStepsClosest(keep_every_steps))
        policy = checkpoint_managers.AnyPreservationPolicy(policies)
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=policy, cleanup_tmp_directories=True, create=True
        )
        if read_only:
            return
        for step in self.steps:
            try:
                checkpoint_meta.check(self.directory / str(step))
            except checkpoint_meta.BrokenError as error:
                self._set_aside(step, error)
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        return _Manager(
            self.directory,
            options=self._options,
            item_names=(_STATE, checkpoint_meta.ITEM),
        )

    @property
    def steps(self) -> list[int]:
        """Steps of the checkpoints, ascending; RunError if the folder is unreadable."""
        try:
            names = [path.name for path in self.directory.iterdir()]
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
    ) -> None:
        """Starts an asynchronous save; does nothing if the step is already saved.

        Args:
            step: number of completed steps.
            state: the state; copied before this returns, so its buffers may be donated.
            identity: flat fields that must be unchanged when the run is resumed.
            progress: the host's own values, ready for JSON.
            metrics: metrics of an evaluation at this step, including those of
                `best_by`; None without one.

        Raises:
            RunError: this checkpoint or the previous one could not be written.
        """
        if step in self._manager.all_steps():
            return
        self.wait()
        tree = jax.tree.map(_to_host, to_canonical(state))
        meta = checkpoint_meta.make(
            identity=identity,
            progress=progress,
            metrics=metrics,
            digests=digests(tree),
        )
        self._in_flight = step
        try:
            with library_noise.muted():
                self._manager.save(
                    step,
                    args=orbax_args.Composite(
                        **{
                            _STATE: orbax_args.StandardSave(tree),
                            checkpoint_meta.ITEM: orbax_args.JsonSave(meta),
                        }
                    ),
                    metrics=meta["metrics"],
                )
        except (OSError, ValueError, RuntimeError) as error:
            raise self._failure(error) from error

    def wait(self) -> None:
        """Waits for the save in flight; raises RunError if it failed."""
        try:
            with library_noise.muted():
                self._manager.wait_until_finished()
        except (OSError, ValueError, RuntimeError) as error:
            raise self._failure(error) from error
        self._in_flight = None

    def _failure(self, error: Exception) -> errors.RunError:
        text = str(error)
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in text
        reason = f"no space left on the disk of {self.directory}" if full else text
        return errors.RunError(
            f"the checkpoint of step {self._in_flight} could not be written: {reason}. "
            f"Intact checkpoints: steps {self.steps or 'none'}; run the same command "
            "to resume"
        )

    def latest_meta(self) -> tuple[int, dict[str, Any]] | None:
        """Returns (step, metadata) of the newest checkpoint with readable metadata."""
        for step in reversed(self.steps):
            try:
                return step, self._read_meta(step)
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
            abstract_state: shapes, dtypes and optionally shardings to restore to.
            identity: see `save`.
            earlier_identity: other accepted values of these fields, as written by
                earlier versions of the code.

        Returns:
            (state, progress), or None if there is no intact checkpoint.

        Raises:
            RunError: the checkpoint belongs to another run; names what differs.
        """
        if self._manager is not None:
            self.wait()
        for step in reversed(self.steps):
            try:
                meta = self._read_meta(step)
                place = f"the checkpoint {self.directory / str(step)}"
                checkpoint_meta.check_identity(
                    meta["identity"], identity, place, earlier_identity
                )
                tree = self._read_state(step, abstract_state, meta["digests"])
            except checkpoint_meta.BrokenError as error:
                self._set_aside(step, error)
                with library_noise.muted():
                    self._manager.close()
                self._manager = self._open()
                continue
            return from_canonical(tree, abstract_state), meta["progress"]
        return None

    def read(
        self, step: int, abstract_state: state_lib.TrainState
    ) -> state_lib.TrainState:
        """Reads the state of a checkpoint.

        Args:
            step: one of `steps`.
            abstract_state: shapes and dtypes of the saved state.

        Raises:
            RunError: the checkpoint is corrupt.
        """
        try:
            digests_there = self._read_meta(step)["digests"]
            tree = self._read_state(step, abstract_state, digests_there)
        except checkpoint_meta.BrokenError as error:
            raise self._unreadable(step, error) from error
        return from_canonical(tree, abstract_state)

    def saved_digests(self, step: int) -> dict[str, int]:
        """Returns the saved `digests` of a checkpoint; raises as `read`."""
        try:
            return self._read_meta(step)["digests"]
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
        return checkpoint_meta.read(self.directory / str(step))

    def _read_state(
        self, step: int, abstract_state: state_lib.TrainState, expected: Any
    ) -> dict[str, Any]:
        default = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=leaf.sharding or default
            ),
            jax.eval_shape(to_canonical, abstract_state),
        )
        with library_noise.muted(), ocp.StandardCheckpointer() as reader:
            try:
                tree = reader.restore(self.directory / str(step) / _STATE, target)
            except Exception as error:
                # Orbax wraps errors from reads in a plain Exception.
                cause = error.__cause__ if type(error) is Exception else error
                if not isinstance(cause, checkpoint_meta.BROKEN):
                    raise
                reason = str(cause).split("\n")[0][:300]
                raise checkpoint_meta.BrokenError(reason) from error
        for place, digest in digests(tree).items():
            if place in expected and expected[place] != digest:
                raise checkpoint_meta.BrokenError(
                    f"the digest of {place} differs from the saved one"
                )
        return tree

    def _set_aside(self, step: int, error: checkpoint_meta.BrokenError) -> None:
        path = self.directory / str(step)
        aside = self.directory / f"{step}.corrupt"
        if aside.exists():
            shutil.rmtree(aside)
        os.replace(path, aside)
        logging.warning(
            "checkpoint %s is corrupt (%s); renamed to %s, trying the previous one",
            path,
            error,
            aside.name,
        )

    def close(self) -> None:
        """Waits for the save in flight and closes the folder."""
        if self._manager is not None:
            self.wait()
            self._manager.close()


def _to_host(leaf: jax.Array) -> np.ndarray | jax.Array:
    """Copies a leaf to the host, since the next step overwrites the donated buffer."""
    return np.array(leaf, copy=True) if leaf.is_fully_addressable else leaf
