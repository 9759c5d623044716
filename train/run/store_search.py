"""Finds the token store of a run, even after the project was moved or renamed.

A store is identified by the hash of its vocabulary, which is in the run's record, and
not by its path.
"""

from collections.abc import Iterator
import logging
import pathlib

from ml_collections import config_dict

from clinometer.data import cache
from clinometer.data import errors as data_errors
from clinometer.data import paths
from clinometer.data.store import token_store
from clinometer.train import errors
from clinometer.train.run import record as run_record

NEEDED = ("data.store", "data.vocabulary_sha256")  # Fields of a run's record.


def of_run(
    record: run_record.Record, run: paths.PathLike, given: str | None = None
) -> str:
    """Returns the absolute path of the token store that a run was trained on.

    If the store is not at its recorded path, all suffixes of that path are tried below
    the run and all its parent folders, which finds a store that was moved together
    with the run; not in object stores, where each trial takes a request. Last, the
    cache of the embedded corpus is tried.

    Args:
        record: the run's record, with the fields `NEEDED`.
        run: the run directory.
        given: path from the option `--store`; replaces the search if not None.

    Raises:
        ConfigError: `given` is not a store with the run's vocabulary.
        RunError: no store with the run's vocabulary was found.
    """
    recorded, sha256 = record.data.store, record.data.vocabulary_sha256
    if given is not None:
        if _vocabulary(given) != sha256:
            raise errors.ConfigError(
                f"--store: {given} {_problem(given)}; {run} was trained with the "
                f"vocabulary {sha256[:12]}..."
            )
        return paths.absolute(given)
    for path in _candidates(paths.parse(recorded), paths.resolved(run)):
        if _vocabulary(path) == sha256:
            return str(path)
    raise errors.RunError(
        f"the store {recorded} of {run} {_problem(recorded)}; the run was trained with "
        f"the vocabulary {sha256[:12]}..., and no such store was found near the run; "
        "give the folder of the store with --store DIR"
    )


def located(
    config: config_dict.FrozenConfigDict, workdir: paths.PathLike
) -> config_dict.FrozenConfigDict:
    """Returns the configuration of a run, with `data.store` corrected if it was moved.

    The configuration is unchanged if there is a store at its path, if it needs none, or
    if there is no run yet.

    Args:
        config: the configuration.
        workdir: the run directory, which need not exist.

    Raises:
        RunError: the store was not found.
    """
    path = config.data.get("store")
    if not path or _vocabulary(path):
        return config
    record = run_record.read(workdir, *NEEDED)
    if record is None:
        return config
    found = config_dict.ConfigDict(config)
    found.data.store = of_run(record, workdir)
    logging.warning("no token store at %s; using %s", path, found.data.store)
    return config_dict.FrozenConfigDict(found)


def _candidates(recorded: paths.AnyPath, run: paths.AnyPath) -> Iterator[paths.AnyPath]:
    yield recorded
    parts = recorded.parts[1:]
    remote = paths.is_remote(recorded) or paths.is_remote(run)
    for folder in () if remote else (run, *run.parents):
        for first in range(len(parts)):
            yield folder.joinpath(*parts[first:])
    yield pathlib.Path(cache.folder(), recorded.name)


def _vocabulary(path: paths.PathLike) -> str | None:
    """Returns the hash of a store's vocabulary, or None if there is no store."""
    try:
        return token_store.read_manifest(str(path)).vocabulary.get("sha256")
    except (data_errors.DataError, OSError):
        return None


def _problem(path: str) -> str:
    found = _vocabulary(path)
    if found is None:
        return "is not a token store"
    return f"has another vocabulary ({found[:12]}...)"
