"""Opens a trained run to use its model: record, vocabulary and parameters."""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any

import jax

from clinometer import models
from clinometer.data import paths
from clinometer.data.store import vocabulary as vocabulary_lib
from clinometer.train import errors
from clinometer.train import initial
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import sources
from clinometer.train import state as state_lib
from clinometer.train.run import checkpoints as checkpoints_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import record as run_record
from clinometer.train.run import store_search
from clinometer.train.sharding import mesh as mesh_lib
from clinometer.train.sharding import placement as placement_lib
from clinometer.train.sharding import rules


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A run with checkpoints.

    Attributes:
        directory: the run directory.
        record: its record.
        model: its model.
        optimizer: the optimizer that it was trained with.
        vocabulary: the vocabulary of its token store.
        checkpoints: its checkpoints, read-only.
    """

    directory: run_directory.RunDirectory
    record: run_record.Record
    model: models.EncoderDecoder
    optimizer: optimizer_lib.Optimizer
    vocabulary: vocabulary_lib.Vocabulary
    checkpoints: checkpoints_lib.Checkpoints

    def shape(
        self, encoder_length: int | None, decoder_length: int | None
    ) -> models.TextShape:
        """Returns the lengths of inputs and outputs.

        Args:
            encoder_length: S; None for that of the run.
            decoder_length: T; None for that of the run.

        Raises:
            ConfigError: the model does not accept texts of these lengths.
        """
        data = self.record.config.data
        shape = models.TextShape(
            encoder_length or data.encoder_length,
            decoder_length or data.decoder_length or self.record.counts.decoder_length,
        )
        try:
            self.model.check(shape)
        except models.ConfigError as error:
            raise errors.ConfigError(
                f"--encoder-length: {shape.encoder_length} is not possible with "
                f"{self.model.name}: {error}"
            ) from error
        return shape

    def check_step(self, step: int | None, why: str = "") -> int:
        """Returns the step of a checkpoint.

        Args:
            step: the step; None for the newest.
            why: what asks for this step, for the message.

        Raises:
            ConfigError: there is no such checkpoint.
        """
        kept = self.checkpoints.steps
        found = max(kept, default=None) if step is None else step
        if found not in kept:
            which = "" if found is None else f" of step {found}{why}"
            raise errors.ConfigError(
                f"--step: {self.directory.path} has no checkpoint{which}; it has "
                f"{', '.join(map(str, kept)) or 'none'}"
            )
        return found

    def place(
        self, batch_size: int, mesh: Mapping[str, int]
    ) -> placement_lib.Placement:
        """Places the state on all devices, see `place`."""
        return place(self.record, self.model, self.optimizer, batch_size, mesh)

    def parameters(self, step: int, placed: placement_lib.Placement) -> Any:
        """Reads the parameters of a checkpoint; call it within the placement's mesh.

        Args:
            step: step of the checkpoint.
            placed: from `place`.

        Raises:
            RunError: the checkpoint cannot be read.
        """
        wanted = placed.state._replace(optimizer={})
        return self.checkpoints.read(step, wanted).params


def open_run(run: paths.PathLike, store: str | None = None) -> TrainedRun:
    """Opens a run.

    Args:
        run: the run directory.
        store: path of its token store; None to search for it.

    Raises:
        RunError: there is no run, its model cannot be built, or its token store, which
            has its vocabulary, was not found.
    """
    directory = run_directory.RunDirectory(run)
    record = initial.read_record(run)
    if record.kind == run_record.CLASSIFICATION:
        raise errors.ConfigError(f"{run} was trained on images, not texts")
    model, optimizer = initial.built(record)
    path = store_search.of_run(record, run, store)
    return TrainedRun(
        directory,
        record,
        model,
        optimizer,
        sources.open_store(path).vocabulary,
        directory.checkpoints(read_only=True),
    )


def place(
    record: run_record.Record,
    model: models.Model,
    optimizer: optimizer_lib.Optimizer,
    batch_size: int,
    mesh: Mapping[str, int],
) -> placement_lib.Placement:
    """Places the state of a run on all devices.

    Args:
        record: the run's record.
        model: its model.
        optimizer: its optimizer.
        batch_size: B.
        mesh: sizes of axes of the mesh; the others are those of the run if it had
            as many devices, else the defaults of training.

    Raises:
        ConfigError: the mesh does not fit the devices, the model or the batch.
    """
    count = jax.device_count()
    earlier = record.mesh or run_record.Mesh()
    recorded = {axis: getattr(earlier, axis) for axis in mesh_lib.AXES}
    config = {"data": None, "fsdp": 1, "expert": 1, "model": None}
    if math.prod(size or 0 for size in recorded.values()) == count:
        config |= recorded
    config |= mesh

    def sizes_for(greatest: Mapping[str, int]) -> mesh_lib.Sizes:
        sizes = mesh_lib.sizes(config, model.name, count, greatest)
        if batch_size % sizes.batch_parts:
            raise errors.ConfigError(
                f"--batch-size: {batch_size} is not a multiple of the "
                f"{sizes.batch_parts} parts of the batch on the mesh ({sizes})"
            )
        return sizes

    return placement_lib.make(
        model,
        jax.eval_shape(lambda: state_lib.initialise(model, optimizer, seed=0)),
        rules.with_overrides(record.config.mesh.rules or ""),
        sizes_for,
        batch_size,
    )
