"""Writes a converted model as a run directory, like those of runs that were trained.

It has checkpoints without an optimizer state, a record, and a store without tokens for
the vocabulary, below the run. It is built in a folder beside its place, and then
renamed.
"""

from collections.abc import Sequence
import os
import pathlib
import shutil
from typing import Any

import jax
import jax.numpy as jnp

from clinometer import models
from clinometer.data import paths
from clinometer.data.store import writer as store_writer
from clinometer.tools.released import errors
from clinometer.tools.released import parameters as parameters_lib
from clinometer.tools.released import release as release_lib
from clinometer.train import config as config_lib
from clinometer.train import state as state_lib
from clinometer.train.configs import pretrain
from clinometer.train.host import environment
from clinometer.train.run import checkpoint_meta
from clinometer.train.run import checkpoints as checkpoints_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import record as run_record

STORE = "vocabulary"  # Folder of the store, in the run.
_SHAPE = models.TextShape(512, 114)  # Of the papers; counts are for it.
_BATCH_SIZE = 128


def write(
    run: pathlib.Path,
    releases: Sequence[release_lib.Release],
    found: Sequence[parameters_lib.Found],
) -> run_record.Record:
    """Writes a run directory and returns its record.

    Args:
        run: its path, where nothing is yet.
        releases: the files, of each checkpoint.
        found: the model with the parameters of each checkpoint.

    Raises:
        ReleaseError: the folder exists, or the disk is full.
    """
    if os.path.lexists(run):
        raise errors.ReleaseError(f"--to: {run} exists; give the path of a new folder")
    partial = run.with_name(f"{run.name}.partial-{os.getpid()}")
    record = _record(run, releases, found)
    release = releases[0]
    try:
        store = partial / STORE
        store.mkdir(parents=True)
        store_writer.write_vocabulary(
            str(store),
            release.vocabulary,
            name=release.vocabulary_file.name,
            source={"file": str(release.vocabulary_file)},
        )
        directory = run_directory.RunDirectory(partial)
        checkpoints = directory.checkpoints(keep_last=len(releases))
        for each, parameters in zip(releases, found, strict=True):
            _write_checkpoint(checkpoints, each.step, parameters, record.converted)
        checkpoints.close()
        directory.write_record(record)
        partial.rename(run)
    except OSError as error:
        raise errors.ReleaseError(f"--to: {run} cannot be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return record


def _write_checkpoint(
    checkpoints: checkpoints_lib.Checkpoints,
    step: int,
    found: parameters_lib.Found,
    converted: run_record.Converted,
) -> None:
    params: dict[str, dict[str, jax.Array]] = {}
    for leaf, values in found.values():
        # Aligned memory becomes the array's own, so that there is one copy of it.
        params.setdefault(leaf.module, {})[leaf.name] = jax.device_put(values)
    state = state_lib.TrainState(jnp.full([], step, jnp.int32), params, {})
    checkpoints.save(
        step,
        state,
        identity={checkpoint_meta.CONVERTED: dict(converted.files)},
        progress={},
        unchanged=True,
    )
    # So that the parameters of one checkpoint are in memory at a time.
    checkpoints.wait()


def _record(
    run: pathlib.Path,
    releases: Sequence[release_lib.Release],
    parameters: Sequence[parameters_lib.Found],
) -> run_record.Record:
    release, found = releases[0], parameters[0]
    described = environment.describe()
    full = config_lib.to_dict(pretrain.get_config(found.name))
    # What it was trained with elsewhere is unknown; the optimizer is that of a
    # fine-tuning.
    config: dict[str, Any] = {
        "kind": run_record.PRETRAINING,
        "model": {"name": found.name, **found.overrides},
        "data": {"encoder_length": _SHAPE.encoder_length},
        "optimizer": full["optimizer"],
    }
    counts = found.model.count(_BATCH_SIZE, _SHAPE)
    return run_record.Record(
        model=found.name,
        kind=run_record.PRETRAINING,
        status="finished",
        seed=0,
        config=run_record.Config.from_json(config),
        git_revision=described["git_revision"],
        git_dirty=described["git_dirty"],
        versions=described["versions"],
        counts=run_record.Counts(**counts.to_dict()),
        converted=run_record.Converted(
            format=release.source,
            path=str(release.path.resolve()),
            files={k: v for each in releases for k, v in each.digests().items()},
            config=release.config.contents,
            notes=tuple(dict.fromkeys(n for each in parameters for n in each.notes)),
        ),
        data=run_record.Data(
            store=paths.absolute(run / STORE),
            vocabulary_sha256=release.vocabulary.sha256,
        ),
        started_at=run_record.now(),
    )
