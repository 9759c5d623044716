"""`run.json`: what a run is, where it ran, how fast, and how it ended."""

from collections.abc import Iterator
from collections.abc import Mapping
import datetime
import logging
import os
import pathlib
from typing import Any

from clinometer.kernels.options import ranges
from clinometer.train import errors
from clinometer.train.run import json_file
from clinometer.train.run import metrics_log

FORMAT_VERSION = 1
FILE_NAME = "run.json"
STATUSES = ("running", "finished", "stopped", "failed")

_NUMBER = (int, float)
_OPTIONAL = (*_NUMBER, type(None))
_NAME = (str, type(None))
_MOST = 1e30  # No run counts or measures more.
# Field -> types of its value; what is not there is asked for by who needs it. A star
# stands for every key of an object and for every item of a list.
_TYPES: Mapping[str, tuple[type, ...]] = {
    "model": (str,),
    "status": (str,),
    "seed": (int,),
    "error": (str, type(None)),
    "config": (dict,),
    "config.data": (dict,),
    "config.data.mixture": (str, type(None)),
    "config.data.encoder_length": (int,),
    "config.model": (dict,),
    "config.model.name": (str,),
    "config.optimizer": (dict,),
    "config.schedule": (dict,),
    "config.schedule.learning_rate": _NUMBER,
    "config.train_steps": (int,),
    "counts": (dict,),
    **{
        f"counts.{name}": _OPTIONAL
        for name in (
            "params_total",
            "params_embedding",
            "params_non_embedding",
            "params_active",
            "batch_size",
            "encoder_length",
            "decoder_length",
            "macs_forward_batch",
            "macs_decoder_length",
            "flops_forward",
            "flops_forward_non_embedding",
            "flops_train_step",
        )
    },
    "initial": (dict, type(None)),
    "initial.step": (int, type(None)),
    "data": (dict,),
    "data.store": (str,),
    "data.vocabulary_sha256": (str,),
    "data.corpus_hash": _NAME,
    "data.python_version": _NAME,
    "data.train_tokens": _OPTIONAL,
    "data.tokens_seen": _OPTIONAL,
    "data.unique_tokens_seen": _OPTIONAL,
    "data.epochs": _OPTIONAL,
    "data.tasks": (dict, type(None)),
    "data.tasks.*": (dict,),
    "data.tasks.*.majority": _OPTIONAL,
    "speed": (dict,),
    "speed.steps_per_second_median": _OPTIONAL,
    "speed.steps_per_second_iqr": _OPTIONAL,
    "speed.tokens_per_second_median": _OPTIONAL,
    "speed.noisy": (bool,),
    "speed.mfu": _OPTIONAL,
    "speed.fraction_of_measured_matmul": _OPTIONAL,
    "speed.processor_lost_to_others": _OPTIONAL,
    "wall_seconds": (dict,),
    "wall_seconds.*": _OPTIONAL,
    "metrics": (dict,),
    "metrics.*": (*_OPTIONAL, bool, list, dict),
    "metrics.step": (int,),
    "metrics.train/loss": _OPTIONAL,
    "metrics.validation/loss": _OPTIONAL,
    "metrics.validation/neg_log_perplexity": _OPTIONAL,
    "metrics.validation/accuracy": _OPTIONAL,
    "metrics.validation/tokens": _OPTIONAL,
    "downstream": (dict, type(None)),
    "downstream.tasks": (dict,),
    "downstream.tasks.*": (dict,),
    "downstream.tasks.*.best": _NUMBER,
    "downstream.tasks.*.best_step": (int,),
    "downstream.tasks.*.standard_error": _OPTIONAL,
    "evaluations": (list,),
    "evaluations.*": (dict,),
    "versions": (dict,),
    "device": (dict,),
    "git_revision": _NAME,
    "git_dirty": (bool, type(None)),
    "started_at": (str,),
}
# What is there has these fields.
_PARTS = {"downstream.tasks.*": ("best", "best_step")}


def read(directory: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Returns the record of a run directory, or None where there is none.

    Raises:
        RunError: it cannot be read, or a field is not what a run writes; names the file
            and the field.
    """
    path = pathlib.Path(directory) / FILE_NAME
    try:
        # Earlier versions wrote NaN, which is null here.
        record = json_file.read_object(path, strict=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise errors.RunError(f"{path}: cannot be read as JSON ({error})") from error
    version = record.get("format_version")
    if version != FORMAT_VERSION:
        raise errors.RunError(
            f"{path}: format_version is {ranges.shown(version)}; this version reads "
            f"{FORMAT_VERSION}"
        )
    require(record, directory, "model", "status", "seed")
    for field, types in _TYPES.items():
        for name, value in _found(record, field.split(".")):
            # isinstance would take True for a whole number.
            known = type(value) in types
            if known and not (type(value) in _NUMBER and abs(value) > _MOST):
                continue
            accepted = " or ".join(
                "null" if kind is type(None) else kind.__name__ for kind in types
            )
            limit = f" of up to {_MOST:g}" if known else ""
            raise errors.RunError(
                f"{path}: {name} is {ranges.shown(value)}; accepted: {accepted}{limit}"
            )
    for field, parts in _PARTS.items():
        for name, value in _found(record, field.split(".")):
            for part in parts:
                if part not in value:
                    raise errors.RunError(f"{path}: {name} has no field {part!r}")
    if record["status"] not in STATUSES:
        raise errors.RunError(
            f"{path}: status is {record['status']!r}; accepted: {', '.join(STATUSES)}"
        )
    return record


def require(
    record: Mapping[str, Any], directory: str | os.PathLike[str], *fields: str
) -> None:
    """Raises RunError, naming file and field, where a dotted field is not there."""
    for field in fields:
        if not list(_found(record, field.split("."))):
            raise errors.RunError(
                f"{pathlib.Path(directory) / FILE_NAME}: has no field {field!r}"
            )


def read_or_set_aside(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the record of a run that goes on; {} where there is none that serves.

    Of a lost one it warns, and a broken one is renamed to run.json.corrupt: the
    checkpoint and `metrics.jsonl` hold nearly all of it.

    Raises:
        RunError: it may not be read.
    """
    path = pathlib.Path(directory) / FILE_NAME
    rest = (
        "made anew from the checkpoint and the log, without what `clinometer evaluate` "
        "added since that checkpoint"
    )
    try:
        record = read(directory)
    except errors.RunError as error:
        if isinstance(error.__cause__, OSError):
            raise
        aside = path.with_name(path.name + ".corrupt")
        os.replace(path, aside)
        logging.warning("%s; renamed to %s, and %s", error, aside.name, rest)
        return {}
    if record is None and path.with_name(metrics_log.FILE_NAME).exists():
        logging.warning("%s is missing; %s", path, rest)
    return record or {}


def write(directory: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Writes the record by rename, so that a reader sees a whole one at any moment."""
    if record["status"] not in STATUSES:
        raise ValueError(
            f"status {record['status']!r}; accepted: {', '.join(STATUSES)}"
        )
    path = pathlib.Path(directory) / FILE_NAME
    json_file.write(path, {**record, "updated_at": now()})


def now() -> str:
    """Returns the time in UTC, e.g. 2026-01-31T12:00:00Z."""
    moment = datetime.datetime.now(datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _found(value: Any, keys: list[str], place: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (name, value) of what stands at a path of keys."""
    if not keys:
        yield place, value
        return
    if isinstance(value, list):
        items = {str(index): part for index, part in enumerate(value)}
    else:
        items = value if isinstance(value, dict) else {}
    chosen = items if keys[0] == "*" else {keys[0]} & items.keys()
    for key in chosen:
        yield from _found(items[key], keys[1:], f"{place}.{key}" if place else key)
