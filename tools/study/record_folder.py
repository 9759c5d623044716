"""Keeps the numbers of a study in a second folder, such as one under version control.

The folder has the layout of OUT: `study.json`, `claims.py`, `rates.json`, and the
records of the runs that are over with the losses of their validation rows and the
scores of their items. It holds no checkpoints, texts or logs, and of each path only the
last part, so it can be published. A study continues from it on another machine.
"""

import argparse
from collections.abc import Mapping
import pathlib
import re
from typing import Any

from clinometer.kernels.options import outputs
from clinometer.tools.report import records
from clinometer.tools.study import errors
from clinometer.tools.study import folder
from clinometer.tools.study import protocol as protocol_lib
from clinometer.tools.study import sweep
from clinometer.tools.study.claims import file as claims_file
from clinometer.train.run import directory as run_directory
from clinometer.train.run import json_file
from clinometer.train.run import record as run_record
from clinometer.train.run import validation_rows

_RUNS = "runs"
# The numbers beside each record: validation losses by row, and scores by item.
_NUMBERS = (validation_rows.FILE_NAME, "predictions/*/*.npz")
_PATHS = {"data.store", "data.folder", "initial.run"} | {
    f"config.{field}"
    for field in ("data.store", "data.folder", "initial.run", "compilation_cache")
}
_FOLDERS = re.compile(r"(?<![\w.])~?/(?:[^\s/'\"]+/)*")


def restore(options: argparse.Namespace) -> int:
    """Copies to OUT what it lacks of the folder of records, if there is such a folder.

    Args:
        options: of the command.

    Returns:
        The number of runs that were restored.

    Raises:
        RecordError: a record cannot be read; the message names the file.
        StudyError: OUT has another training of a run, or one that is not over; or a
            study.json cannot be read.
    """
    out, kept = options.out, path_of(options)
    if kept is None:
        return 0
    restored = 0
    for run in _runs(kept):
        missing = [
            name
            for name in _records(options)
            if _is_missing(kept / run / name, out / run / name)
        ]
        for name in missing:
            _copy_numbers((kept / run / name).parent, (out / run / name).parent)
            _write(out / run / name, _text(kept / run / name))
        restored += run_record.FILE_NAME in missing
    settings = kept / folder.SETTINGS
    if settings.is_file():
        passes = {**folder.planned(kept), **folder.planned(out)}
        newest = out if (out / folder.SETTINGS).is_file() else kept
        contents = json_file.read_object(newest / folder.SETTINGS)
        _write(out / folder.SETTINGS, _json({**contents, "passes": passes}))
    return restored


def keep_run(options: argparse.Namespace, work: pathlib.Path) -> None:
    """Copies a run's records to the folder of records, if all the run's work is over.

    Args:
        options: of the command.
        work: directory of the run or of its fine-tuning.

    Raises:
        RecordError: a record cannot be read.
    """
    out, kept = options.out, path_of(options)
    if kept is None:
        return
    parts = work.relative_to(out).parts
    run = pathlib.Path(*parts[: parts.index(_RUNS) + 2])
    found = {name: _record_or_none(out / run / name) for name in _records(options)}
    pretraining = found[run_record.FILE_NAME]
    if not _is_over(pretraining):
        return
    protocol = options.study.protocol
    if pretraining.finished and run.parts[0] == _RUNS:
        if protocol.of_images and not protocol.fewshot.is_of(pretraining):
            return
        for tuning in protocol.finetunings:
            own = found[_finetuning(tuning.name)]
            if tuning.is_of(pretraining.model) and not _is_over(own):
                return
    for name in [name for name, record in found.items() if _is_over(record)]:
        contents = json_file.read_object(out / run / name, strict=False)
        _copy_numbers((out / run / name).parent, (kept / run / name).parent)
        _write(kept / run / name, _json(stripped(contents)))


def keep_all(options: argparse.Namespace) -> None:
    """Copies the settings, the claims and all records that may be copied.

    Args:
        options: of the command.

    Raises:
        RecordError: a record cannot be read.
    """
    out, kept = options.out, path_of(options)
    if kept is None:
        return
    for run in _runs(out):
        keep_run(options, out / run)
    if (out / claims_file.FILE_NAME).is_file():
        _write(kept / claims_file.FILE_NAME, _text(out / claims_file.FILE_NAME))
    if (out / folder.SETTINGS).is_file():
        contents = json_file.read_object(out / folder.SETTINGS)
        _write(kept / folder.SETTINGS, _json(stripped(contents)))


def path_of(options: argparse.Namespace) -> pathlib.Path | None:
    """Returns the folder of records, or None if the study has none."""
    given = options.study.records
    return None if given is None else pathlib.Path(given)


def stripped(value: Any, place: str = "") -> Any:
    """Returns a JSON value in which paths are reduced to their last part.

    Args:
        value: nested dicts, lists and scalars.
        place: the keys that lead to the value, joined by dots.
    """
    if isinstance(value, Mapping):
        prefix = f"{place}." if place else ""
        return {key: stripped(part, f"{prefix}{key}") for key, part in value.items()}
    if isinstance(value, list):
        return [stripped(part, place) for part in value]
    if isinstance(value, str):
        if place in _PATHS:
            return pathlib.PurePath(value).name
        return _FOLDERS.sub("", value)
    return value


def _records(options: argparse.Namespace) -> list[str]:
    """Returns the paths in a run's directory of the records that it may have.

    Fine-tunings come before their run, whose record says that all is there.
    """
    names = [tuning.name for tuning in options.study.protocol.finetunings]
    tunings = dict.fromkeys((protocol_lib.FINETUNING, *names))
    return [*map(_finetuning, tunings), run_record.FILE_NAME]


def _finetuning(name: str) -> str:
    return f"{run_directory.FINETUNINGS}/{name}/{run_record.FILE_NAME}"


def _runs(root: pathlib.Path) -> list[pathlib.Path]:
    """Returns the paths of all runs with a record, sweeps included, below the root."""
    return [
        path.parent.relative_to(root)
        for parent in (_RUNS, f"{sweep.FOLDER}/{_RUNS}")
        for path in sorted((root / parent).glob(f"*/{run_record.FILE_NAME}"))
    ]


def _is_missing(source: pathlib.Path, target: pathlib.Path) -> bool:
    """Returns whether a record is to be restored; refuses another training's."""
    kept, mine = _record_or_none(source), _record_or_none(target)
    if kept is None or mine is None:
        return kept is not None
    if mine.started_at != kept.started_at or not _is_over(mine):
        raise errors.StudyError(
            f"{target.parent} is another training of the run in {source}, or one that "
            "is not over. Remove one of them."
        )
    return False


def _record_or_none(path: pathlib.Path) -> run_record.Record | None:
    directory = run_directory.RunDirectory(path.parent)
    return records.read_record(directory) if directory.has_record else None


def _is_over(record: run_record.Record | None) -> bool:
    return record is not None and (record.finished or record.diverged)


def _text(path: pathlib.Path) -> str:
    return path.read_bytes().decode("utf-8")  # The hash of the claims is of all bytes.


def _copy_numbers(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies the numbers beside a record, unless they are there already."""
    for pattern in _NUMBERS:
        for path in sorted(source.glob(pattern)):
            place, content = target / path.relative_to(source), path.read_bytes()
            if not place.is_file() or place.read_bytes() != content:
                place.parent.mkdir(parents=True, exist_ok=True)
                outputs.write_bytes(place, content)


def _json(contents: Mapping[str, Any]) -> str:
    return json_file.dumps(contents, indent=1) + "\n"


def _write(path: pathlib.Path, text: str) -> None:
    """Writes a file atomically, unless it has this content already."""
    if not path.is_file() or _text(path) != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        outputs.write_text(path, text)
