"""Builds and checks the parts of a run from its configuration.

All checks of the input happen here, before anything is compiled or written.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import jax
from ml_collections import config_dict

from clinometer import models
from clinometer.data import paths
from clinometer.data.images import digits
from clinometer.train import branch
from clinometer.train import config as config_lib
from clinometer.train import errors
from clinometer.train import fields as fields_lib
from clinometer.train import initial as initial_lib
from clinometer.train import model_and_data
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import schedules
from clinometer.train import sources
from clinometer.train import state as state_lib
from clinometer.train.host import environment
from clinometer.train.run import checkpoint_meta
from clinometer.train.run import directory as run_directory
from clinometer.train.sharding import mesh as mesh_lib
from clinometer.train.sharding import placement as placement_lib
from clinometer.train.sharding import rules
from clinometer.train.tracking import choice as trackers

# Model options that change how the result is computed, but not the result.
_FORM_FIELDS = ("scan_layers", "remat")
# Paths of the data, which may change, since its content is identified by fingerprints;
# and how it is read.
_PLACES = ("store", "folder", "threads")
# Fields of models' configs that the data or the device determine.
_FROM_MODEL = ("vocab_size", "num_classes", "dtype")
# Fields of models' configs that checkpoints of earlier versions lack, and their values
# in these versions.
_LATER = {"model.logits_scaling": "tied", "model.sequences_per_group": 0}


@dataclasses.dataclass(frozen=True)
class Job:
    """The parts of a run.

    Attributes:
        config: the full configuration, with the model's fields that data or device
            determine.
        model: the model.
        source: the training and evaluation data.
        initial: the checkpoint of another run to start from, or None.
        optimizer: pure functions over the parameters.
        schedule: function from the 0-based step to the learning rate.
        placement: where the training state and the batches are.
        identity: flat fields that must be unchanged when the run is resumed.
        earlier_identity: other accepted values of these fields, as written by earlier
            versions of the code.
    """

    config: config_dict.FrozenConfigDict
    model: models.Model
    source: sources.Source
    initial: initial_lib.Initial | None
    optimizer: optimizer_lib.Optimizer
    schedule: schedules.Schedule
    placement: placement_lib.Placement
    identity: Mapping[str, Any]
    earlier_identity: Mapping[str, Any]


def prepare(config: config_dict.ConfigDict) -> Job:
    """Checks a configuration and builds its parts; writes and compiles nothing.

    Args:
        config: the configuration of the run.

    Returns:
        The parts of the run.

    Raises:
        RunError: a field is wrong; the message names it and says what is accepted.
    """
    fields_lib.check(config)
    trackers.chosen(config.log.trackers)
    schedule = schedules.make(config.schedule, config.train_steps)
    optimizer = optimizer_lib.make(config.optimizer)
    model, source, vocabulary_sha256 = model_and_data.of(config)
    placement = place(config, model, optimizer, source.shape)
    initial = initial_lib.find(config.initial, model, optimizer, vocabulary_sha256)
    full = config_dict.ConfigDict(config).unlock()
    for field in _FROM_MODEL:
        if field in full.model:
            full.model[field] = getattr(model.config, field)
    if config.compilation_cache:
        run_directory.check("config.compilation_cache", config.compilation_cache)
        full.compilation_cache = paths.absolute(config.compilation_cache)
    trunk = initial.trunk if initial is not None else None
    if trunk is not None and config.microbatch == "auto":
        full.num_microbatches = trunk.identity["num_microbatches"]
        _check_microbatches(full, model, source.shape, placement.sizes)
    identity = _identity(full, model, source)
    earlier_identity = {
        field: checkpoint_meta.ABSENT
        for field, value in _LATER.items()
        if identity.get(field) == value
    }
    if trunk is not None:
        initial = branch.checked(
            initial, identity, earlier_identity, schedule, config.train_steps
        )
    # Record absolute paths, which hold in any working directory.
    for group, field in (("data", "store"), ("data", "folder"), ("initial", "run")):
        place_given = full[group].get(field)
        if place_given and place_given != digits.NAME:
            full[group][field] = paths.absolute(place_given)
    return Job(
        config=config_dict.FrozenConfigDict(full),
        model=model,
        source=source,
        initial=initial,
        optimizer=optimizer,
        schedule=schedule,
        placement=placement,
        identity=identity | (initial.identity if initial else {}),
        earlier_identity=earlier_identity
        | (initial.earlier_identity if initial else {}),
    )


def place(
    config: config_dict.ConfigDict,
    model: models.Model,
    optimizer: optimizer_lib.Optimizer,
    shape: models.Shape,
    devices: Sequence[jax.Device] | None = None,
) -> placement_lib.Placement:
    """Places a run on devices; allocates nothing.

    Args:
        config: the configuration, of which `mesh`, `data.batch_size` and
            `num_microbatches` are read.
        model: the model.
        optimizer: the optimizer.
        shape: shape of an example.
        devices: the devices; None for all of JAX.

    Raises:
        ConfigError: the mesh does not fit the devices, the model or the batch.
    """

    def sizes_for(greatest: Mapping[str, int]) -> mesh_lib.Sizes:
        count = jax.device_count() if devices is None else len(devices)
        sizes = mesh_lib.sizes(config.mesh, model.name, count, greatest)
        _check_microbatches(config, model, shape, sizes)
        decoded = config.eval.get("batch_size")  # Fine-tuning only.
        if decoded and decoded % sizes.batch_parts:
            raise errors.ConfigError(
                f"config.eval.batch_size: {decoded} is not a multiple of the "
                f"{sizes.batch_parts} parts of the batch on the mesh ({sizes})"
            )
        return sizes

    return placement_lib.make(
        model,
        jax.eval_shape(lambda: state_lib.initialise(model, optimizer, config.seed)),
        rules.with_overrides(config.mesh.rules),
        sizes_for,
        config.data.batch_size,
        lambda sizes: mesh_lib.make(sizes, devices),
    )


def agreed_fields(job: Job, workdir: paths.PathLike) -> dict[str, Any]:
    """Returns what must be the same in all processes of a run.

    The data are compared by their content, so that their paths may differ.

    Args:
        job: the run.
        workdir: the run directory.
    """
    flat = config_lib.flatten(config_lib.to_dict(job.config))
    places = {f"data.{place}" for place in _PLACES}
    return {
        **{f"config.{k}": v for k, v in flat.items() if k not in places},
        **job.identity,
        **{f"versions.{k}": v for k, v in environment.versions().items()},
        "--workdir": str(paths.resolved(workdir)),
    }


def with_microbatches(job: Job, number: int) -> Job:
    """Returns a run with another number of microbatches.

    Args:
        job: the run.
        number: number of microbatches.
    """
    config = config_dict.ConfigDict(job.config)
    config.num_microbatches = number
    return dataclasses.replace(
        job,
        config=config_dict.FrozenConfigDict(config),
        identity={**job.identity, "num_microbatches": number},
    )


def resuming(job: Job, identity: Mapping[str, Any]) -> Job:
    """Returns a run with what its configuration leaves to its checkpoint.

    Args:
        job: the run.
        identity: identity stored in the checkpoint.
    """
    if job.config.microbatch == "auto" and "num_microbatches" in identity:
        return with_microbatches(job, identity["num_microbatches"])
    return job


def with_model(job: Job, **fields: Any) -> Job:
    """Returns a run whose model has other fields, with parameters of the same shapes.

    Only its programs are of use: `identity` and the data are those of the run.

    Args:
        job: the run.
        **fields: fields of the model's config.

    Raises:
        ConfigError: the model does not accept them.
    """
    config = config_dict.ConfigDict(job.config).unlock()
    config.model.update(fields)
    model = model_and_data.build(config.model.name, model_and_data.overrides(config))
    return dataclasses.replace(
        job, config=config_dict.FrozenConfigDict(config), model=model
    )


def check_workdir(job: Job, workdir: paths.PathLike) -> None:
    """Checks that a run can be started or resumed in a folder; writes nothing.

    Args:
        job: the run.
        workdir: the run directory, which need not exist.

    Raises:
        RunError: the folder holds a checkpoint of another run, or of a later step than
            the last step of this one.
        OptionError: the folder for the predictions cannot be created or written to.
    """
    if job.source.scorer is not None:
        predictions = run_directory.RunDirectory(workdir).predictions.path
        run_directory.check("--workdir", predictions)
    directory = run_directory.RunDirectory(paths.resolved(workdir))
    reader = directory.checkpoints(read_only=True)
    latest = reader.latest_meta()
    reader.close()
    if latest is None:
        return
    step, meta = latest
    if checkpoint_meta.CONVERTED in meta["identity"]:
        raise errors.ConfigError(
            f"--workdir: {workdir} was converted from released files, which have no "
            f"optimizer state, so it cannot be resumed; give --from {workdir} and "
            "another --workdir"
        )
    place = f"the checkpoint {directory.checkpoints_path / str(step)}"
    job = resuming(job, meta["identity"])
    checkpoint_meta.check_identity(
        meta["identity"], job.identity, place, job.earlier_identity
    )
    _check_microbatches(job.config, job.model, job.source.shape, job.placement.sizes)
    if step > job.config.train_steps:
        raise errors.ConfigError(
            f"config.train_steps: {job.config.train_steps} is less than the {step} "
            f"steps of {place}"
        )


def _check_microbatches(
    config: config_dict.ConfigDict,
    model: models.Model,
    shape: models.Shape,
    sizes: mesh_lib.Sizes,
) -> None:
    """Raises ConfigError unless the batch divides into microbatches on the mesh."""
    parts = config.num_microbatches * sizes.batch_parts
    if config.data.batch_size % parts:
        raise errors.ConfigError(
            f"config.data.batch_size: {config.data.batch_size} is not a multiple "
            f"of {parts}, num_microbatches ({config.num_microbatches}) times the "
            f"parts of the batch on the mesh ({sizes})"
        )
    size = config.data.batch_size // config.num_microbatches
    try:
        model.check_parts(size, shape, sizes.batch_parts)
    except models.ConfigError as error:
        raise errors.ConfigError(f"config.model: {error}") from error


def _identity(
    config: config_dict.ConfigDict,
    model: models.Model,
    source: sources.Source,
) -> dict[str, Any]:
    """Returns the fields that affect the results; intervals and paths do not."""
    fields = {
        "seed": config.seed,
        "num_microbatches": config.num_microbatches,
        "z_loss": config.z_loss,
        "model.name": model.name,
        **source.identity,
    }
    if schedules.depends_on_train_steps(config.schedule.name):
        fields["train_steps"] = config.train_steps
    groups = {
        "model": dataclasses.asdict(model.config),
        "data": {k: v for k, v in config.data.items() if k not in _PLACES},
        "optimizer": dict(config.optimizer),
        "schedule": dict(config.schedule),
    }
    for field in _FORM_FIELDS:
        groups["model"].pop(field, None)
    return {**fields, **config_lib.flatten(groups), **environment.identity()}
