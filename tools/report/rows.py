"""Makes runs.csv: a row per run, columns in a fixed order with units in their names.

`training_flops` is the cost of the whole run, `flops_train_step` times the number of
steps. All counts are at the run's own lengths except `papers_macs_forward_batch`, which
follows the papers' convention: the embedding lookup counts as a one-hot product, and
targets are padded to `papers_macs_decoder_length`. `flops_forward_non_embedding` is the
true forward FLOPs without the logits' product. `flops_*` and `papers_macs_*` are per
batch. `tokens_per_second_median` counts encoder and decoder positions, B * (S + T).
`training_seconds` is the number of steps over their median rate. `speed_run` names the
run in which the speed was measured, if it was another one. `matmul_drift` is the
change of the rate of a reference benchmark, a large matrix product, from before the run
to after it. Losses are in nats per token. `downstream_score`, in percent, is the
benchmark's average named `downstream_average`, over tasks that all fine-tuned runs
have; it is empty if they have no benchmark in common, or if fine-tunings of the run
differ in their settings. `downstream_sampling_error` is its standard error from the
sampling of the evaluation sets alone; the error between seeds is on the page. Missing
values are empty.

`corpus_hash` is of the corpus, or of the images for training.

Runs may be compared if their `comparability_key` is equal; it is a hash of the columns
that `fit/comparable.py` lists. `copy_of` names the run that a row repeats. Runs with
the `role` of a sweep enter no fit, and a pilot's none of other runs. Where there are
runs on texts, those of the `kind` classification, on images, enter no fit.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import csv
import io
import json
import operator
from typing import Any

from clinometer.tools.fit import comparable
from clinometer.tools.report import conditions
from clinometer.tools.report import downstream
from clinometer.tools.report import records

# Column -> attribute of the run record; None for columns that are computed from others.
_ATTRIBUTES = {
    "model": "model",
    "architecture": None,
    "size": None,
    "seed": "seed",
    "data_order": None,
    "kind": "kind",
    "role": "study.role",
    "status": "status",
    "step": "metrics.step",
    "train_steps": "config.train_steps",
    "copy_of": None,
    "comparability_key": None,
    "rate_protocol": None,
    "rate_corpus_hash": "study.rate_corpus",
    "learning_rate": None,
    "d_model": None,
    "model_overrides": None,
    "params_total": "counts.params_total",
    "params_embedding": "counts.params_embedding",
    "params_non_embedding": "counts.params_non_embedding",
    "params_active": "counts.params_active",
    "training_flops": None,
    "flops_forward": "counts.flops_forward",
    "flops_forward_non_embedding": "counts.flops_forward_non_embedding",
    "flops_train_step": "counts.flops_train_step",
    "flops_forward_executed": "counts.flops_forward_executed",
    "flops_train_step_executed": "counts.flops_train_step_executed",
    "flops_train_step_remat_executed": "counts.flops_train_step_remat_executed",
    "papers_macs_forward_batch": "counts.macs_forward_batch",
    "papers_macs_decoder_length": "counts.macs_decoder_length",
    "batch_size": "counts.batch_size",
    "encoder_length": "counts.encoder_length",
    "decoder_length": "counts.decoder_length",
    "noise_density": None,
    "mean_noise_span_length": None,
    "order_protocol": None,
    "dtype": None,
    "dropout_rate": None,
    "z_loss": None,
    "optimizer": None,
    "schedule": None,
    "num_microbatches": None,
    "initial": None,
    "vocab_size": None,
    "validation_rows": None,
    "tokens_seen": "data.tokens_seen",
    "unique_tokens_seen": "data.unique_tokens_seen",
    "epochs": "data.epochs",
    "train_loss_nats": "metrics.train_loss",
    "validation_loss_nats": "metrics.validation_loss",
    "validation_neg_log_perplexity": "metrics.validation_neg_log_perplexity",
    "validation_accuracy": "metrics.validation_accuracy",
    "validation_tokens": "metrics.validation_tokens",
    "downstream_score": None,
    "downstream_sampling_error": None,
    "downstream_average": None,
    "downstream_tasks": None,
    "training_seconds": None,
    "steps_per_second_median": "speed.steps_per_second_median",
    "steps_per_second_iqr": "speed.steps_per_second_iqr",
    "steps_per_second_median_error": "speed.steps_per_second_median_error",
    "tokens_per_second_median": "speed.tokens_per_second_median",
    "speed_run": None,
    "speed_windows": "speed.num_windows",
    "speed_window_steps": "speed.window_steps",
    "speed_noisy": "speed.noisy",
    "mfu": "speed.mfu",
    "peak_flops_per_second": "speed.peak_flops_per_second",
    "fraction_of_measured_matmul": "speed.fraction_of_measured_matmul",
    "measured_matmul_flops_per_second": "speed.measured_matmul_flops_per_second",
    "measured_matmul_flops_per_second_after": (
        "speed.measured_matmul_flops_per_second_after"
    ),
    "matmul_drift": None,
    "processor_lost_to_others": "speed.processor_lost_to_others",
    "cores_used_by_others": "speed.cores_used_by_others",
    "wall_total_seconds": "wall_seconds.total",
    "wall_compile_seconds": "wall_seconds.compile",
    "wall_calibration_seconds": "wall_seconds.calibration",
    "wall_input_wait_seconds": "wall_seconds.input_wait",
    "wall_step_seconds": "wall_seconds.step",
    "wall_evaluation_seconds": "wall_seconds.evaluation",
    "wall_checkpoint_seconds": "wall_seconds.checkpoint",
    "wall_paused_seconds": "wall_seconds.paused",
    "wall_other_seconds": "wall_seconds.other",
    "corpus_hash": "data.hash",
    "corpus_python_version": "data.python_version",
    "vocabulary_sha256": "data.vocabulary_sha256",
    "train_tokens": "data.train_tokens",
    "device_platform": "device.platform",
    "device_kind": "device.kind",
    "device_count": "device.count",
    "device_training": "device.training",
    "device_threads": "device.threads",
    "device_cpu_quota": "device.cpu_quota",
    "host_cpu": "device.host_cpu",
    "git_revision": "git_revision",
    "git_dirty": "git_dirty",
    "flags": "flags",
    "versions": "versions",
    "started_at": "started_at",
    "updated_at": "updated_at",
    "error": "error",
}

COLUMNS = ("run", *_ATTRIBUTES)
# The columns that say how fast a run was, and whether that is to be trusted.
SPEED_COLUMNS = (
    *(
        column
        for column, name in _ATTRIBUTES.items()
        if (name or "").startswith("speed.")
    ),
    "matmul_drift",
)

Row = Mapping[str, Any]


def make_row(
    run: records.Run, average: downstream.RunAverage | None = None
) -> dict[str, Any]:
    """Returns the row of a run, with None for values that its record doesn't have.

    Args:
        run: a pretraining run.
        average: its average downstream score, if it has one.
    """
    row: dict[str, Any] = {"run": run.name}
    for column, attribute in _ATTRIBUTES.items():
        row[column] = operator.attrgetter(attribute)(run.record) if attribute else None
    architecture, _, size = str(row["model"]).partition("-")
    row["architecture"], row["size"] = architecture, size
    row |= conditions.columns(run.record)
    row["training_flops"] = _training_flops(row)
    row["training_seconds"] = training_seconds(row)
    row["matmul_drift"] = _drift(row)
    row["comparability_key"] = comparable.key(row)
    if average is not None:
        row["downstream_score"] = average.score
        row["downstream_sampling_error"] = average.sampling_error
        row["downstream_average"] = average.name
        row["downstream_tasks"] = " ".join(average.tasks)
    return row


def training_seconds(row: Row) -> float | None:
    """Returns the number of steps over their median rate; None if one is unknown.

    Args:
        row: a row, which needs its columns of the steps and of the rate only.
    """
    rate, steps = row["steps_per_second_median"], row["train_steps"]
    return steps / rate if steps and rate else None


def _training_flops(row: Row) -> float | None:
    """Returns the FLOPs of the steps so far; None if the record lacks a number."""
    steps = row["train_steps"] if row["status"] == "finished" else row["step"]
    flops = row["flops_train_step"]
    return None if steps is None or flops is None else steps * flops


def _drift(row: Row) -> float | None:
    """Returns the change of the matmul rate over the run, as a fraction."""
    before = row["measured_matmul_flops_per_second"]
    after = row["measured_matmul_flops_per_second_after"]
    return after / before - 1 if before and after else None


def order(row: Row) -> tuple[str, int, str]:
    """Returns the sort key of a row: architecture, parameters, name."""
    return row["architecture"], row["params_total"] or 0, row["run"]


def write_csv(rows: Sequence[Row]) -> str:
    """Returns the text of runs.csv, with numbers in full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row[column]) for column in COLUMNS])
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return " ".join(f"{key}={value[key]}" for key in sorted(value))
    return json.dumps(value)
