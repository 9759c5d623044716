"""Finds the token store of a run, also after a project's folder was moved or renamed.

A store is known by its vocabulary's hash, which the run's record holds, and not by its
path.
"""

from collections.abc import Iterator
import logging
import os
import pathlib

from ml_collections import config_dict

from clinometer.data import errors as data_errors
from clinometer.data.corpus import embedded
from clinometer.data.store import token_store
from clinometer.train import errors
from clinometer.train.run import record as run_record

NEEDED = ("data.store", "data.vocabulary_sha256")  # of a run's record


def of_run(
    record: run_record.Record, run: str | os.PathLike[str], given: str | None = None
) -> str:
    """Returns the absolute path of the store that a run learned from.

    Where it is no more at its recorded path, the ends of that path are tried below the
    folders above the run: what was moved together is found. So is the embedded corpus's
    in the cache of another machine or user.

    Args:
        record: of the run, with the fields `NEEDED`.
        run: its directory.
        given: the user's `--store`, which is taken in place of the recorded path.

    Raises:
        RunError: there is none with the run's vocabulary.
    """
    recorded, sha256 = record.data.store, record.data.vocabulary_sha256
    if given is not None:
        if _vocabulary(pathlib.Path(given)) != sha256:
            raise errors.ConfigError(
                f"--store: {given} {_problem(given)}, not that of {run} "
                f"({sha256[:12]}...)"
            )
        return os.path.abspath(given)
    for path in _candidates(pathlib.Path(recorded), pathlib.Path(run).resolve()):
        if _vocabulary(path) == sha256:
            return str(path)
    raise errors.RunError(
        f"the store {recorded} of {run} {_problem(recorded)}, where the run learned "
        f"with {sha256[:12]}..., and none lies beside the run; has it been moved or "
        "made anew? Say where it lies with --store DIR"
    )


def located(
    config: config_dict.FrozenConfigDict, workdir: str | os.PathLike[str]
) -> config_dict.FrozenConfigDict:
    """Returns the configuration of a run that goes on, with its store where it now is.

    It is the given one where its path leads to a store, or there is no run yet.
    """
    path = config.data.store
    if not path or _vocabulary(pathlib.Path(path)):
        return config
    record = run_record.read(workdir, *NEEDED)
    if record is None:
        return config
    found = config_dict.ConfigDict(config)
    found.data.store = of_run(record, workdir)
    logging.warning("no token store at %s; taking %s", path, found.data.store)
    return config_dict.FrozenConfigDict(found)


def _candidates(recorded: pathlib.Path, run: pathlib.Path) -> Iterator[pathlib.Path]:
    yield recorded
    parts = recorded.parts[1:]
    for folder in run.parents:
        for first in range(len(parts)):
            yield folder.joinpath(*parts[first:])
    yield pathlib.Path(embedded.cache_directory(), recorded.name)


def _vocabulary(path: pathlib.Path) -> str | None:
    """The hash of a store's vocabulary; None where there is no store."""
    try:
        return token_store.read_manifest(str(path)).vocabulary.get("sha256")
    except (data_errors.DataError, OSError):
        return None


def _problem(path: str) -> str:
    found = _vocabulary(pathlib.Path(path))
    if found is None:
        return "is not a token store"
    return f"has another vocabulary ({found[:12]}...)"
