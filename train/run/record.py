"""The record of a run, `run.json`.

`format_version` is incremented when a field is removed or changes its meaning. A field
that is missing in an older record has its default value. Readers name the fields that
they require, as in `read(directory, "data.store")`.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import logging
from typing import Any

from clinometer.data import paths
from clinometer.kernels.options import ranges
from clinometer.train import errors
from clinometer.train.run import json_file
from clinometer.train.run import metrics_log
from clinometer.train.run import schema
from clinometer.train.run.recorded_config import Config
from clinometer.train.run.recorded_config import Study
from clinometer.train.run.schema import Number
from clinometer.train.run.schema import Part
from clinometer.train.run.schema import optional

FORMAT_VERSION = 1
FILE_NAME = "run.json"
STATUSES = ("running", "finished", "stopped", "failed")
PRETRAINING = "pretraining"
FINETUNING = "finetuning"
CLASSIFICATION = "classification"  # Pretraining on labelled images.
KINDS = (PRETRAINING, FINETUNING, CLASSIFICATION)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device(Part):
    """The hardware: `count` devices were available, `training` of them were used."""

    platform: str | None = None
    kind: str | None = None
    count: int | None = None
    threads: int | None = None
    cpu_quota: Number | None = None  # CPU limit of a container.
    host_cpu: str | None = None
    training: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mesh(Part):
    """The mesh of devices that train; see `sharding/mesh.py` for its axes."""

    data: int | None = None
    fsdp: int | None = None
    expert: int | None = None
    model: int | None = None
    processes: int | None = None
    params_bytes_per_device: Number | None = None
    slots_bytes_per_device: Number | None = None
    activation_bytes_per_device: Number | None = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts(Part):
    """Parameter and FLOP counts, from `models.Model.count`."""

    model: str | None = None
    params_total: Number | None = None
    params_embedding: Number | None = None
    params_non_embedding: Number | None = None
    params_active: Number | None = None
    batch_size: Number | None = None
    encoder_length: Number | None = optional()  # Of texts.
    decoder_length: Number | None = optional()
    image_height: Number | None = optional()  # Of images.
    image_width: Number | None = optional()
    macs_forward_batch: Number | None = None
    macs_decoder_length: Number | None = optional()
    flops_forward: Number | None = None
    flops_forward_non_embedding: Number | None = None
    flops_train_step: Number | None = None
    flops_forward_executed: Number | None = None
    flops_train_step_executed: Number | None = None
    flops_train_step_remat_executed: Number | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Initial(Part):
    """The checkpoint of another run that this one started from.

    Attributes:
        branch: whether this run goes on at its step, with its order of the data.
        same_rates: of a branch, whether its schedule gives the learning rates of the
            other run up to there, so that it is the run that its configuration would
            give from the start.
        before: of a branch, what the other run started from.
    """

    run: str | None = None
    step: int | None = None
    optimizer_slots: str | None = None
    branch: bool | None = optional()
    same_rates: bool | None = optional()
    before: "Initial | None" = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Converted(Part):
    """The released checkpoint that a run was made from; it was not trained here.

    Attributes:
        format: "hugging-face" or "mesh-tensorflow".
        path: the folder or file it was read from.
        files: SHA-256 of each file that was read, by its name.
        config: the model's configuration there.
        notes: what was found in the files that their configuration does not say.
    """

    format: str | None = None
    path: str | None = None
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskData(Part):
    """A task of a fine-tuning; `majority` is the majority-class baseline in percent."""

    rate: Number | None = None
    train_examples: Number | None = None
    majority: Number | None = None
    truncated_inputs: Number | None = None
    truncated_targets: Number | None = None
    epochs: Number | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageData(Part):
    """Labelled images; the hashes are of names, sizes and classes."""

    classes: int | None = None
    train_images: Number | None = None
    validation_images: Number | None = None
    train_sha256: str | None = None
    validation_sha256: str | None = None
    broken: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data(Part):
    """The training data seen so far."""

    store: str | None = optional(null=False)
    folder: str | None = optional()  # Fine-tuning only: files of the task releases.
    corpus_hash: str | None = optional()  # Pretraining only.
    python_version: str | None = optional()  # Source of the embedded corpus.
    vocabulary_sha256: str | None = optional(null=False)
    order_protocol: str | None = optional()  # Pretraining only: how order is drawn.
    train_tokens: Number | None = optional()
    tokens_seen: Number | None = optional()
    unique_tokens_seen: Number | None = optional()
    epochs: Number | None = None
    tasks: Mapping[str, TaskData] | None = optional()  # Fine-tuning only.
    images: ImageData | None = optional()  # Classification only.

    @property
    def hash(self) -> str | None:
        """The hash of the texts or of the images for training, if it is known."""
        return self.images.train_sha256 if self.images else self.corpus_hash


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed(Part):
    """Speed over windows of steps; medians are None if no window was completed.

    Attributes:
        noisy: whether the speed is left out of fits; see `host/speed.py`.
        measured_matmul_flops_per_second: of a reference benchmark before the run.
        measured_matmul_flops_per_second_after: of the same after it.
    """

    steps_per_second_median: Number | None = None
    steps_per_second_iqr: Number | None = None
    steps_per_second_median_error: Number | None = optional()
    tokens_per_second_median: Number | None = None
    rows_per_second_median: Number | None = optional()  # Texts or images.
    num_windows: Number | None = None
    paused_windows: Number | None = None
    window_steps: Number | None = None
    noisy: bool | None = optional(null=False)
    processor_lost_to_others: Number | None = None
    cores_used_by_others: Number | None = optional()
    mfu: Number | None = None
    peak_flops_per_second: Number | None = None
    fraction_of_measured_matmul: Number | None = None
    measured_matmul_flops_per_second: Number | None = None
    measured_matmul_flops_per_second_after: Number | None = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class WallSeconds(Part):
    """Wall time in seconds, by category."""

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
    """The latest values in `metrics.jsonl`, with the same names."""

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
    """Best and last score of a task in percent; the other fields are of the best.

    Attributes:
        standard_error: sampling error of the evaluation, for this model only.
        low: low end of the 95 % interval of the same error.
        high: high end of this interval.
    """

    best: Number
    last: Number | None = None
    best_step: int
    standard_error: Number | None = None
    low: Number | None = optional()
    high: Number | None = optional()
    likelihood: Number | None = optional()  # Of the right answers, in percent.

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval, in percent; None if unknown."""
        return None if None in (self.low, self.high) else (self.low, self.high)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Downstream(Part):
    """Task scores during training, and averages of their best scores, in percent."""

    tasks: Mapping[str, TaskScore] = dataclasses.field(default_factory=dict)
    averages: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluatedTask(Part):
    """Score of a task in percent; `truncated` counts the inputs that were cut off.

    Its error is the sampling error of the evaluation; see `TaskScore`.
    """

    step: Number | None = None
    score: Number | None = None
    standard_error: Number | None = None
    low: Number | None = optional()
    high: Number | None = optional()
    no_standard_error: str | None = optional()  # Why there is none.
    metrics: Mapping[str, Number | None] = dataclasses.field(default_factory=dict)
    examples: Number | None = None
    truncated: Number | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Average(Part):
    """An average of the scores of several tasks, in percent."""

    value: Number | None = None
    standard_error: Number | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation(Part):
    """Results of one `clinometer evaluate`."""

    mixture: str | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    evaluated_at: str | None = None
    tasks: Mapping[str, EvaluatedTask] = dataclasses.field(default_factory=dict)
    sequences_per_second: Number | None = None
    averages: Mapping[str, Average] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record(Part):
    """The contents of `run.json`.

    Attributes:
        kind: one of `KINDS`.
        status: one of `STATUSES`.
        error: message of the error that ended the run, or None.
        mesh: None in the records of earlier versions, which had one device.
        initial: None if the parameters were initialised at random or converted.
        converted: None if the run was trained here.
        downstream: None if no tasks were scored during training.
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
    mesh: Mesh | None = optional()
    numerics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    counts: Counts = Counts()
    initial: Initial | None = None
    converted: Converted | None = optional()
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
        """Whether the run completed its last step."""
        return self.status == "finished"

    @property
    def diverged(self) -> bool:
        """Whether the loss or the gradient became NaN or infinite, which ended it."""
        name = errors.DivergedError.__name__
        return self.status == "failed" and (self.error or "").startswith(f"{name}:")

    @property
    def study(self) -> Study:
        """What the run is for in a study."""
        return self.config.study


def from_json(contents: Mapping[str, Any]) -> Record:
    """Parses a record.

    Args:
        contents: the JSON object.

    Raises:
        FieldError: a field is invalid; the message names it.
    """
    schema.check_version(contents, FORMAT_VERSION)
    record = Record.from_json(contents)
    if record.kind is None:  # Earlier versions did not write it.
        kind = PRETRAINING if record.data.tasks is None else FINETUNING
        record = dataclasses.replace(record, kind=kind)
    _check(record)
    return record


def read(directory: paths.PathLike, *needed: str) -> Record | None:
    """Reads the record of a run directory; returns None if there is none.

    Args:
        directory: the run directory.
        *needed: fields that must be present, such as "data.store".

    Raises:
        RunError: the record cannot be read, or a field is invalid or missing; the
            message names the file and the field.
    """
    path = paths.parse(directory) / FILE_NAME
    try:
        # Earlier versions wrote NaN, which is read as null.
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


def read_or_set_aside(directory: paths.PathLike) -> Record | None:
    """Reads the record of a run to resume; returns None if there is no usable one.

    A corrupt record is renamed to run.json.corrupt with a warning. Nearly all of it can
    be restored from the checkpoint and `metrics.jsonl`.

    Args:
        directory: the run directory.

    Raises:
        RunError: there is no permission to read the record.
    """
    path = paths.parse(directory) / FILE_NAME
    rest = (
        "recreated from the checkpoint and the log, without any results that "
        "`clinometer evaluate` added after that checkpoint"
    )
    try:
        record = read(directory)
    except errors.RunError as error:
        if isinstance(error.__cause__, OSError):
            raise
        aside = path.with_name(path.name + ".corrupt")
        paths.move(path, aside)
        logging.warning("%s; renamed to %s and %s", error, aside.name, rest)
        return None
    if record is None and paths.exists(path.with_name(metrics_log.FILE_NAME)):
        logging.warning("%s is missing; %s", path, rest)
    return record


def write(directory: paths.PathLike, record: Record) -> None:
    """Writes a record atomically, with the current time as `updated_at`.

    Args:
        directory: the run directory.
        record: the record.

    Raises:
        FieldError: the status or the kind is unknown.
    """
    _check(record)
    record = dataclasses.replace(record, updated_at=now())
    json_file.write(paths.parse(directory) / FILE_NAME, record.to_json())


def now() -> str:
    """Returns the current time in UTC, e.g. "2026-01-31T12:00:00Z"."""
    moment = datetime.datetime.now(datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _check(record: Record) -> None:
    for field, accepted in (("status", STATUSES), ("kind", KINDS)):
        value = getattr(record, field)
        if value not in accepted:
            raise schema.FieldError(
                f"{field} is {ranges.shown(value)}; accepted: {', '.join(accepted)}"
            )
