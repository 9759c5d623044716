"""Manages a study's folder: its lock, its settings and its finished runs."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import fcntl
import json
import pathlib
from typing import Any

from clinometer.data import paths
from clinometer.kernels.options import ranges
from clinometer.tools.report import records
from clinometer.tools.study import errors
from clinometer.train import config as config_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import json_file

# Fields for logging and saving, which don't affect what a run computes.
_FREE_PREFIXES = ("log.", "checkpoint.", "profile.")
# These are paths. Their contents are compared by hash, since they may have moved.
_FREE_FIELDS = ("data.store", "data.folder", "initial.run", "compilation_cache")
SETTINGS = "study.json"
_MARKS = ("study.role", "study.pass_number", "study.fixed_rate")


@contextlib.contextmanager
def locked(out: pathlib.Path) -> Iterator[int]:
    """Locks the folder for one study; a context manager.

    Runs inherit the lock's file descriptor, so the lock is held until the last of them
    has ended, even if the study itself was killed.

    Args:
        out: the study's folder, which is created if it doesn't exist.

    Yields:
        The file descriptor of the lock.

    Raises:
        StudyError: another study, or a run that it left behind, holds the lock.
    """
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "study.lock", "w", encoding="utf-8") as lock:
        try:
            # Not filelock, whose release also unlocks the descriptors of the runs.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise errors.StudyError(
                f"{out}: another study is running in this folder, or its last runs are "
                "still saving. Wait for it to end, or choose another folder with --out."
            ) from error
        yield lock.fileno()


def check_settings(
    out: pathlib.Path,
    settings: Mapping[str, Any],
    option: str = "--out",
    *,
    only_given: bool = False,
) -> None:
    """Checks that the folder doesn't hold a study with other settings.

    Args:
        out: the study's folder, or its folder of records.
        settings: config key -> value, shared by all runs.
        option: the option that names the folder, for messages.
        only_given: whether to compare only the fields of `settings`.

    Raises:
        StudyError: a setting differs from the one in OUT/study.json, or the file cannot
            be read.
    """
    path = out / SETTINGS
    if not path.is_file():
        return
    try:
        before = json_file.read_object(path).get("settings")
        if not isinstance(before, dict):
            raise ValueError(f"settings is {ranges.shown(before)}; accepted: an object")
    except (OSError, ValueError) as error:
        raise errors.StudyError(f"{path}: cannot be read ({error})") from error
    compared = settings if only_given else {*before, *settings}
    for field in sorted(sorted(compared), key=_follows_from_steps):
        if field.startswith(_FREE_PREFIXES):
            continue
        if before.get(field) != settings.get(field):
            raise errors.StudyError(
                f"{out} holds a study with {field} = {before.get(field)!r}; this one "
                f"has {settings.get(field)!r}. Choose another folder with {option}, "
                "or use the settings of the existing study."
            )


def write_settings(
    out: pathlib.Path,
    command: str,
    settings: Mapping[str, Any],
    passes: Mapping[str, int],
    notes: Mapping[str, str] | None = None,
) -> None:
    """Writes the command, the shared settings and the planned runs to OUT/study.json.

    Args:
        out: the study's folder.
        command: the command that started the study.
        settings: config key -> value, shared by all runs.
        passes: name of a planned run -> its pass. Those of earlier commands in this
            folder are kept.
        notes: model -> what readers of its results must know.
    """
    contents = {
        "format_version": 1,
        "command": command,
        "settings": dict(settings),
        "passes": {**planned(out), **passes},
        **({"notes": dict(notes)} if notes else {}),
    }
    json_file.write(out / SETTINGS, contents)


def margin(out: pathlib.Path) -> float | None:
    """Returns the margin in nats that a study's folder was made with, if any.

    Raises:
        StudyError: study.json cannot be read, or the margin is no number above 0.
    """
    # Imported here because it loads SciPy, which `clinometer status` does not need.
    from clinometer.tools.inference import outcomes

    path = out / SETTINGS
    if not paths.is_file(path):
        return None
    try:
        value = json_file.read_object(path).get("settings", {}).get("design.margin")
        if value is not None:
            outcomes.check_margin(value)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise errors.StudyError(f"{path}: cannot be read ({error})") from error
    return value


def planned(out: pathlib.Path) -> dict[str, int]:
    """Returns name -> pass of the planned runs of a study's folder.

    Args:
        out: the study's folder; without study.json, nothing is planned.

    Raises:
        StudyError: study.json cannot be read.
    """
    path = out / SETTINGS
    if not paths.is_file(path):
        return {}
    try:
        passes = json_file.read_object(path).get("passes", {})
        if not isinstance(passes, dict) or any(
            type(number) is not int or number < 1 for number in passes.values()
        ):
            raise ValueError(
                f"passes is {ranges.shown(passes)}; accepted: an object of numbers"
            )
    except (OSError, ValueError) as error:
        raise errors.StudyError(f"{path}: cannot be read ({error})") from error
    return passes


def notes(out: pathlib.Path) -> dict[str, str]:
    """Returns model -> what readers of its results must know, as the study says.

    Args:
        out: the study's folder; without study.json, there are none.

    Raises:
        StudyError: study.json cannot be read.
    """
    path = out / SETTINGS
    if not paths.is_file(path):
        return {}
    try:
        found = json_file.read_object(path).get("notes", {})
        if not isinstance(found, dict) or not all(
            isinstance(text, str) for text in found.values()
        ):
            raise ValueError(
                f"notes is {ranges.shown(found)}; accepted: an object of strings"
            )
    except (OSError, ValueError) as error:
        raise errors.StudyError(f"{path}: cannot be read ({error})") from error
    return found


def has_finished(run: pathlib.Path) -> bool:
    """Returns whether the run directory holds a finished run."""
    directory = run_directory.RunDirectory(run)
    return directory.has_record and records.read_record(directory).finished


def is_over(
    run: pathlib.Path, expected: Mapping[str, Any], data: Mapping[str, Any]
) -> bool:
    """Returns whether the run directory holds this run and the run is over.

    It is over if it finished or diverged; the same command would diverge again.

    Args:
        run: the directory; it need not exist.
        expected: the run's config, flattened by `train.config.flatten`.
        data: the hashes of its data by their names in the record, such as
            `corpus_hash` and `vocabulary_sha256` of the token store.

    Raises:
        StudyError: the directory holds a run with another config or other data. The
            message names the field.
        RecordError: the run record cannot be read.
    """
    directory = run_directory.RunDirectory(run)
    if not directory.has_record:
        return False
    record = records.read_record(directory)
    # Configs of earlier versions lack the kind.
    recorded = {"kind": record.kind, **config_lib.flatten(record.config.to_json())}
    recorded.setdefault("data.order", recorded.get("data.seed"))  # Its former name.
    # As in JSON, where tuples become lists.
    expected = json.loads(json.dumps(dict(expected)))
    pairs = {
        field: (recorded.get(field), value)
        for field, value in expected.items()
        if not field.startswith(_FREE_PREFIXES)
        and field not in _FREE_FIELDS
        and value is not None
        # Runs of earlier versions do not say what they are for.
        and not (field in _MARKS and field not in recorded)
    }
    for field, value in data.items():
        learned = getattr(record.data, field, None)
        if record.data.images is not None:
            learned = getattr(record.data.images, field, None)
        if learned is not None:
            pairs[f"data.{field}"] = (learned, value)
    for field in sorted(pairs, key=_follows_from_steps):
        there, here = pairs[field]
        if there != here:
            raise errors.StudyError(
                f"{run} holds a run with {field} = {there!r}; this study has {here!r}. "
                "Choose another folder with --out."
            )
    return record.finished or record.diverged


def _follows_from_steps(field: str) -> bool:
    """Sorts train_steps first, which intervals such as eval.every_steps follow from."""
    return field != "train_steps"
