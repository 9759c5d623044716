"""The study's folder: its lock, its settings, and which of its runs are finished."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import fcntl
import json
import pathlib
from typing import Any

from clinometer.kernels.options import ranges
from clinometer.tools.report import records
from clinometer.tools.study import errors
from clinometer.train import config as config_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import json_file

# Fields that say how a run is watched and kept, not what it computes.
_FREE_PREFIXES = ("log.", "checkpoint.", "profile.")
# What these hold is compared by its hash: it may lie elsewhere.
_FREE_FIELDS = ("data.store", "data.folder", "initial.run")


@contextlib.contextmanager
def locked(out: pathlib.Path) -> Iterator[int]:
    """Holds the folder for one study; yields the lock's file descriptor.

    Runs inherit the descriptor, so the lock lasts until the last of them has ended,
    even where the study itself was killed.

    Raises:
      StudyError: another study, or a run it left behind, holds the folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "study.lock", "w", encoding="utf-8") as lock:
        try:
            # Not filelock: its release unlocks the descriptors of the runs, too.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise errors.StudyError(
                f"{out}: another study is running here, or its last runs are still "
                "saving. Wait for it, or choose another folder with --out."
            ) from error
        yield lock.fileno()


def check_settings(out: pathlib.Path, settings: Mapping[str, Any]) -> None:
    """Refuses a folder that holds a study with other settings, naming the field.

    Raises:
      StudyError: a setting differs from the one in OUT/study.json.
    """
    path = out / "study.json"
    if not path.is_file():
        return
    try:
        before = json_file.read_object(path).get("settings")
        if not isinstance(before, dict):
            raise ValueError(f"settings is {ranges.shown(before)}; accepted: an object")
    except (OSError, ValueError) as error:
        raise errors.StudyError(f"{path}: cannot be read ({error})") from error
    for field in sorted({*before, *settings}):
        if field.startswith(_FREE_PREFIXES):
            continue
        if before.get(field) != settings.get(field):
            raise errors.StudyError(
                f"{out} holds a study with {field} = {before.get(field)!r}; this one "
                f"has {settings.get(field)!r}. Choose another folder with --out, or "
                "the settings of the first."
            )


def write_settings(
    out: pathlib.Path, command: str, settings: Mapping[str, Any]
) -> None:
    """Notes the command and the shared settings in OUT/study.json."""
    contents = {"format_version": 1, "command": command, "settings": dict(settings)}
    json_file.write(out / "study.json", contents)


def has_finished(run: pathlib.Path) -> bool:
    """Whether the run directory holds a run, finished."""
    directory = run_directory.RunDirectory(run)
    return directory.has_record and records.read_record(directory).finished


def is_finished(
    run: pathlib.Path, expected: Mapping[str, Any], corpus: Mapping[str, Any]
) -> bool:
    """Whether the run directory holds this very run, finished.

    Args:
      run: the directory; it need not exist.
      expected: the run's config, flat, as `train.config.flatten` gives it.
      corpus: `corpus_hash` and `vocabulary_sha256` of the token store.

    Raises:
      StudyError: it holds a run with another config or corpus; names the field.
      RecordError: its record cannot be read.
    """
    directory = run_directory.RunDirectory(run)
    if not directory.has_record:
        return False
    record = records.read_record(directory)
    # The configurations of earlier versions do not say the kind.
    recorded = {"kind": record.kind, **config_lib.flatten(record.config.to_json())}
    # As JSON has it: tuples became lists.
    expected = json.loads(json.dumps(dict(expected)))
    pairs = {
        field: (recorded.get(field), value)
        for field, value in expected.items()
        if not field.startswith(_FREE_PREFIXES)
        and field not in _FREE_FIELDS
        and value is not None
    }
    learned = {
        "corpus_hash": record.data.corpus_hash,
        "vocabulary_sha256": record.data.vocabulary_sha256,
    }
    for field, value in corpus.items():
        if learned[field] is not None:
            pairs[f"data.{field}"] = (learned[field], value)
    # Cadences follow from the length, which is what to name.
    for field in sorted(pairs, key=lambda field: field != "train_steps"):
        there, here = pairs[field]
        if there != here:
            raise errors.StudyError(
                f"{run} holds a run with {field} = {there!r}; this study has {here!r}. "
                "Choose another folder with --out."
            )
    return record.finished
