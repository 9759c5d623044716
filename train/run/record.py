"""`run.json`: what a run is, where it ran, how fast, and how it ended.

`format_version` rises when a field goes or changes its meaning, so that no reader takes
it for what it was. A field that is new is missing in earlier records, and reads as its
default. What a reader needs it asks for: `read(directory, "data.store")`.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import logging
import os
import pathlib
from typing import Any

from clinometer.kernels.options import ranges
from clinometer.train import errors
from clinometer.train.run import json_file
from clinometer.train.run import metrics_log
from clinometer.train.run import schema
from clinometer.train.run.schema import Number
from clinometer.train.run.schema import Part
from clinometer.train.run.schema import optional

FORMAT_VERSION = 1
FILE_NAME = "run.json"
STATUSES = ("running", "finished", "stopped", "failed")
PRETRAINING = "pretraining"
FINETUNING = "finetuning"
KINDS = (PRETRAINING, FINETUNING)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(Part):
    """`config.model`; `rest` has the fields of the model's config."""

    name: str | None = optional(null=False)

    @property
    def overrides(self) -> dict[str, Any]:
        """The fields of the model's config that the run sets."""
        return {field: v for field, v in self.rest.items() if v is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Part):
    """`config.data`."""

    encoder_length: int | None = optional(null=False)
    decoder_length: int | None = optional()  # of fine-tuning
    mixture: str | None = optional()  # likewise


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleConfig(Part):
    """`config.schedule`."""

    learning_rate: Number | None = optional(null=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Part):
    """The run's whole configuration; declared is what is read of it."""

    train_steps: int | None = optional(null=False)
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    optimizer: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    schedule: ScheduleConfig = ScheduleConfig()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device(Part):
    """What the run ran on; `count` devices were there, `training` of them trained."""

    platform: str | None = None
    kind: str | None = None
    count: int | None = None
    threads: int | None = None
    cpu_quota: Number | None = None  # of a container, in CPUs
    host_cpu: str | None = None
    training: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts(Part):
    """As `models.Model.count` gives them."""

    model: str | None = None
    params_total: Number | None = None
    params_embedding: Number | None = None
    params_non_embedding: Number | None = None
    params_active: Number | None = None
    batch_size: Number | None = None
    encoder_length: Number | None = None
    decoder_length: Number | None = None
    macs_forward_batch: Number | None = None
    macs_decoder_length: Number | None = None
    flops_forward: Number | None = None
    flops_forward_non_embedding: Number | None = None
    flops_train_step: Number | None = None
    flops_forward_executed: Number | None = None
    flops_train_step_executed: Number | None = None
    flops_train_step_remat_executed: Number | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Initial(Part):
    """The checkpoint of another run that this one started from."""

    run: str | None = None
    step: int | None = None
    optimizer_slots: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskData(Part):
    """A task that a run learned; `majority` scores the commonest target."""

    rate: Number | None = None
    train_examples: Number | None = None
    majority: Number | None = None
    truncated_inputs: Number | None = None
    truncated_targets: Number | None = None
    epochs: Number | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data(Part):
    """What the run learned from, as far as it got."""

    store: str | None = optional(null=False)
    folder: str | None = optional()  # of fine-tuning: the releases' files
    corpus_hash: str | None = optional()  # of pretraining
    python_version: str | None = optional()  # that the embedded corpus is of
    vocabulary_sha256: str | None = optional(null=False)
    train_tokens: Number | None = optional()
    tokens_seen: Number | None = optional()
    unique_tokens_seen: Number | None = optional()
    epochs: Number | None = None
    tasks: Mapping[str, TaskData] | None = optional()  # of fine-tuning


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed(Part):
    """Medians and ranges over windows of steps; None where there was no window."""

    steps_per_second_median: Number | None = None
    steps_per_second_iqr: Number | None = None
    tokens_per_second_median: Number | None = None
    num_windows: Number | None = None
    paused_windows: Number | None = None
    window_steps: Number | None = None
    noisy: bool | None = optional(null=False)
    processor_lost_to_others: Number | None = None
    mfu: Number | None = None
    peak_flops_per_second: Number | None = None
    fraction_of_measured_matmul: Number | None = None
    measured_matmul_flops_per_second: Number | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class WallSeconds(Part):
    """Where the wall time went."""

    total: Number | None = None
    compile: Number | None = None
    calibration: Number | None = None
    input_wait: Number | None = None
    step: Number | None = None
    evaluation: Number | None = None
    checkpoint: Number | None = None
    paused: Number | None = None
    other: Number | None = None
    rest: Mapping[str, Number | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metrics(Part):
    """The newest values of `metrics.jsonl`, under its names."""

    step: int | None = optional(null=False)
    train_loss: Number | None = optional(name="train/loss")
    validation_loss: Number | None = optional(name="validation/loss")
    validation_neg_log_perplexity: Number | None = optional(
        name="validation/neg_log_perplexity"
    )
    validation_accuracy: Number | None = optional(name="validation/accuracy")
    validation_tokens: Number | None = optional(name="validation/tokens")
    rest: Mapping[str, Number | None | bool | list | dict] = dataclasses.field(
        default_factory=dict
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskScore(Part):
    """A task's scores in percent: at its best step, with its error, and the last."""

    best: Number
    last: Number | None = None
    best_step: int
    standard_error: Number | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Downstream(Part):
    """Scores of tasks while the run trained; averages of the tasks' best."""

    tasks: Mapping[str, TaskScore] = dataclasses.field(default_factory=dict)
    averages: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluatedTask(Part):
    """A task's score in percent, and the number of inputs that were truncated."""

    step: Number | None = None
    score: Number | None = None
    standard_error: Number | None = None
    no_standard_error: str | None = optional()  # the reason
    metrics: Mapping[str, Number | None] = dataclasses.field(default_factory=dict)
    examples: Number | None = None
    truncated: Number | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Average(Part):
    """An average of several tasks' scores."""

    value: Number | None = None
    standard_error: Number | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation(Part):
    """What one `clinometer evaluate` found."""

    mixture: str | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    evaluated_at: str | None = None
    tasks: Mapping[str, EvaluatedTask] = dataclasses.field(default_factory=dict)
    sequences_per_second: Number | None = None
    averages: Mapping[str, Average] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record(Part):
    """What `run.json` says, field by field.

    Attributes:
        kind: one of `KINDS`.
        error: why it failed.
        initial: None where the parameters were drawn.
        downstream: None where nothing was scored while it trained.
    """

    format_version: int = FORMAT_VERSION
    model: str
    kind: str | None = optional(null=False)
    status: str
    error: str | None = None
    seed: int
    config: Config = Config()
    git_revision: str | None = None
    git_dirty: bool | None = None
    versions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    device: Device = Device()
    numerics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    counts: Counts = Counts()
    initial: Initial | None = None
    data: Data = Data()
    speed: Speed = Speed()
    wall_seconds: WallSeconds = WallSeconds()
    metrics: Metrics = Metrics()
    downstream: Downstream | None = None
    evaluations: Sequence[Evaluation] = ()
    started_at: str | None = optional(null=False)
    updated_at: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the run reached its last step."""
        return self.status == "finished"


def from_json(contents: Mapping[str, Any]) -> Record:
    """Returns the record that a JSON object is.

    Raises:
        FieldError: a field is not what a run writes; names it.
    """
    version = contents.get("format_version")
    if version != FORMAT_VERSION:
        raise schema.FieldError(
            f"format_version is {ranges.shown(version)}; this version reads "
            f"{FORMAT_VERSION}"
        )
    record = Record.from_json(contents)
    if record.kind is None:  # Earlier versions left it to be guessed.
        kind = PRETRAINING if record.data.tasks is None else FINETUNING
        record = dataclasses.replace(record, kind=kind)
    _check(record)
    return record


def read(directory: str | os.PathLike[str], *needed: str) -> Record | None:
    """Returns the record of a run directory, or None where there is none.

    Args:
        directory: of the run.
        needed: fields that must be there, such as `data.store`.

    Raises:
        RunError: it cannot be read, a field is not what a run writes, or one that is
            needed is missing; names the file and the field.
    """
    path = pathlib.Path(directory) / FILE_NAME
    try:
        # Earlier versions wrote NaN, which is null here.
        contents = json_file.read_object(path, strict=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise errors.RunError(f"{path}: cannot be read as JSON ({error})") from error
    try:
        record = from_json(contents)
        record.require(*needed)
    except schema.FieldError as error:
        raise errors.RunError(f"{path}: {error}") from error
    return record


def read_or_set_aside(directory: str | os.PathLike[str]) -> Record | None:
    """Returns the record of a run that goes on; None where there is none that serves.

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
        return None
    if record is None and path.with_name(metrics_log.FILE_NAME).exists():
        logging.warning("%s is missing; %s", path, rest)
    return record


def write(directory: str | os.PathLike[str], record: Record) -> None:
    """Writes the record by rename, so that a reader sees a whole one at any moment.

    Raises:
        FieldError: its status or kind is none.
    """
    _check(record)
    record = dataclasses.replace(record, updated_at=now())
    json_file.write(pathlib.Path(directory) / FILE_NAME, record.to_json())


def now() -> str:
    """Returns the time in UTC, e.g. 2026-01-31T12:00:00Z."""
    moment = datetime.datetime.now(datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _check(record: Record) -> None:
    for field, accepted in (("status", STATUSES), ("kind", KINDS)):
        value = getattr(record, field)
        if value not in accepted:
            raise schema.FieldError(
                f"{field} is {ranges.shown(value)}; accepted: {', '.join(accepted)}"
            )
