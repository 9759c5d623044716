"""Initialises a run with the state of another run, given by `config.initial`.

Only the parameters are taken, and by choice the optimizer state, unless the run is a
branch of the other one (see `branch`).
"""

from collections.abc import Mapping
import dataclasses
import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import config_dict

from clinometer import models
from clinometer.data import paths
from clinometer.train import errors
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import state as state_lib
from clinometer.train.run import canonical
from clinometer.train.run import checkpoints as checkpoints_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import record as run_record
from clinometer.train.run import store_search

SLOTS = ("reset", "keep")
# Fields that the other run's record must have.
_NEEDED = ("config.model.name", "config.optimizer", "config.data")


@dataclasses.dataclass(frozen=True)
class Trunk:
    """The run from which a branch starts.

    Attributes:
        record: its record.
        identity: the fields that affected its results, from the checkpoint.
    """

    record: run_record.Record
    identity: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Initial:
    """A compatible checkpoint of another run, not loaded yet.

    Attributes:
        run: the other run's directory.
        step: step of the checkpoint.
        slots: "keep" to load the optimizer state, "reset" to initialise it.
        fingerprint: hash of the digests of the checkpoint's arrays.
        earlier_fingerprint: the fingerprint that earlier versions of the code used, a
            hash of the other run's configuration and vocabulary.
        trunk: the other run, if this one is a branch of it; otherwise None.
        same_rates: whether a branch's schedule gives the trunk's learning rates before
            `step`; None if unknown or no branch.
    """

    run: paths.AnyPath
    step: int
    slots: str
    fingerprint: str
    earlier_fingerprint: str
    trunk: Trunk | None = None
    same_rates: bool | None = None

    @property
    def first_step(self) -> int:
        """Number of steps that count as completed when the run starts."""
        return 0 if self.trunk is None else self.step

    @property
    def identity(self) -> dict[str, Any]:
        """Flat fields that must be unchanged on resuming; the other run may move."""
        identity = {
            "initial.fingerprint": self.fingerprint,
            "initial.step": self.step,
            "initial.optimizer_slots": self.slots,
        }
        # Absent in checkpoints of earlier versions, which had no branches.
        return identity if self.trunk is None else identity | {"initial.branch": True}

    @property
    def earlier_identity(self) -> dict[str, Any]:
        """Values of `identity` in checkpoints of earlier versions of the code."""
        return {"initial.fingerprint": self.earlier_fingerprint}

    def describe(self) -> run_record.Initial:
        """Returns the entry `initial` of the run's record."""
        described = run_record.Initial(
            run=str(self.run), step=self.step, optimizer_slots=self.slots
        )
        if self.trunk is None:
            return described
        return dataclasses.replace(
            described,
            branch=True,
            same_rates=self.same_rates,
            before=self.trunk.record.initial,
        )


def read_record(run: paths.PathLike) -> run_record.Record:
    """Returns the record of another run.

    Args:
        run: the other run's directory.

    Raises:
        RunError: there is no record, it cannot be read, or a needed field is missing.
    """
    directory = run_directory.RunDirectory(run)
    record = directory.record(*_NEEDED)
    if record.kind == run_record.CLASSIFICATION:
        return record
    return directory.record(*_NEEDED, *store_search.NEEDED)


def built(
    record: run_record.Record,
) -> tuple[models.EncoderDecoder, optimizer_lib.Optimizer]:
    """Rebuilds the model and the optimizer of a run from its record.

    Args:
        record: the record, with `config.model.name` and `config.optimizer`.

    Raises:
        RunError: this version of the code cannot build the recorded model.
    """
    config = record.config
    try:
        model = models.build(config.model.name, **config.model.overrides)
    except (models.ModelNameError, models.ConfigError) as error:
        raise errors.RunError(
            f"{run_record.FILE_NAME}: config.model cannot be built by this version: "
            f"{error}"
        ) from error
    return model, optimizer_lib.make(config.optimizer)


def find(
    config: config_dict.ConfigDict,
    model: models.Model,
    optimizer: optimizer_lib.Optimizer,
    vocabulary_sha256: str | None,
) -> Initial | None:
    """Finds the checkpoint given by `config.initial` and checks that it fits.

    Args:
        config: `config.initial`.
        model: the model to be trained.
        optimizer: the optimizer to train it with.
        vocabulary_sha256: hash of the vocabulary of the training data; None for images.

    Returns:
        The checkpoint, or None if `config.initial.run` is None.

    Raises:
        RunError: there is no such run or checkpoint, its vocabulary differs, or the
            names or shapes of its parameters (or of its optimizer state, if kept)
            differ.
    """
    if config.run is None:
        for field in ("step", "branch"):
            if config[field]:
                raise errors.ConfigError(
                    f"config.initial.{field}: requires config.initial.run"
                )
        return None
    if config.branch and config.optimizer_slots != "keep":
        raise errors.ConfigError(
            f"config.initial.optimizer_slots: {config.optimizer_slots!r}; accepted "
            "with config.initial.branch: 'keep'"
        )
    run = paths.resolved(config.run)
    record = read_record(run)
    reader = _open(run)
    steps = reader.steps
    step = config.step if config.step is not None else max(steps, default=None)
    if step not in steps:
        raise errors.ConfigError(
            f"config.initial.step: {run} has no checkpoint"
            + (f" of step {step}" if step is not None else "")
            + f"; it has {', '.join(map(str, steps)) or 'none'}"
        )
    of_images = record.kind == run_record.CLASSIFICATION
    if of_images != (vocabulary_sha256 is None):
        raise errors.ConfigError(
            f"config.initial.run: {run} was trained on "
            + ("images, not texts" if of_images else "texts, not images")
        )
    if record.converted is not None and config.optimizer_slots == "keep":
        raise errors.ConfigError(
            f"config.initial.optimizer_slots: {run} was converted from released files, "
            "which have no optimizer state; accepted: 'reset', without a branch"
        )
    theirs = record.data.vocabulary_sha256
    if theirs != vocabulary_sha256:
        raise errors.ConfigError(
            f"config.initial.run: {run} was trained with another vocabulary (sha256 "
            f"{theirs[:12]}...) than that of the data ({vocabulary_sha256[:12]}...), "
            "so its token ids have other meanings"
        )
    parts = ("params", "optimizer") if config.optimizer_slots == "keep" else ("params",)
    own = _canonical(model, optimizer)
    other = _canonical(*built(record))
    for part in parts:
        _check_shapes(run, part, own[part], other[part])
    return Initial(
        run,
        step,
        config.optimizer_slots,
        _short_hash(json.dumps(reader.saved_digests(step), sort_keys=True)),
        _short_hash(
            json.dumps(record.config.to_json(), sort_keys=True) + (theirs or "")
        ),
        Trunk(record, reader.saved_identity(step)) if config.branch else None,
    )


def load(
    initial: Initial,
    abstract_state: state_lib.TrainState,
    optimizer: optimizer_lib.Optimizer,
) -> state_lib.TrainState:
    """Loads the other run's parameters into a state at step 0, or a branch's state.

    Args:
        initial: the checkpoint, from `find`.
        abstract_state: shapes, dtypes and optionally shardings of this run's state.
        optimizer: the optimizer to train it with.

    Raises:
        RunError: the checkpoint cannot be read.
    """
    keep = initial.slots == "keep"
    wanted = abstract_state if keep else abstract_state._replace(optimizer={})
    state = _open(initial.run).read(initial.step, wanted)
    if initial.trunk is not None:
        return state

    def begin(step: jax.Array, params: Any) -> tuple[jax.Array, Any]:
        return jnp.zeros_like(step), {} if keep else optimizer.init(params)

    like = wanted.step, {} if keep else abstract_state.optimizer
    shardings = jax.tree.map(lambda leaf: leaf.sharding, like)
    step, fresh = jax.jit(begin, out_shardings=shardings)(state.step, state.params)
    return state._replace(step=step, optimizer=state.optimizer if keep else fresh)


def _open(run: paths.AnyPath) -> checkpoints_lib.Checkpoints:
    directory = run_directory.RunDirectory(run)
    if not paths.is_folder(directory.checkpoints_path):
        raise errors.ConfigError(f"config.initial.run: {run} has no checkpoints")
    return directory.checkpoints(read_only=True)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(
    model: models.Model, optimizer: optimizer_lib.Optimizer
) -> dict[str, Any]:
    return jax.eval_shape(
        lambda: canonical.to_canonical(state_lib.initialise(model, optimizer, seed=0))
    )


def _check_shapes(run: paths.AnyPath, part: str, own: Any, other: Any) -> None:
    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
        return {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}

    here, there = shapes(own), shapes(other)
    different = sorted(
        name for name in here.keys() | there if here.get(name) != there.get(name)
    )
    if different:
        name = different[0]
        raise errors.ConfigError(
            f"config.initial.run: the {part} arrays of {run} do not match this model: "
            f"{len(different)} differ, the first is {name}: "
            f"{here.get(name, 'absent')} here, {there.get(name, 'absent')} there"
        )
