"""Writes synthetic run directories in the trainer's format."""

import hashlib
import json
import math
import pathlib

from clinometer.data.tasks import scores as task_scores
from clinometer.data.tasks import task as task_lib
from clinometer.tools.report import copies
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib
from clinometer.train.downstream import item_scores

# Size -> d_model.
SIZES = {"pico": 32, "nano": 48, "micro": 96, "milli": 128}


def record(
    size="pico", seed=0, architecture="transformer", status="finished", **changes
):
    """Returns a run record; `changes` replace values at paths like `metrics__step`."""
    d = SIZES[size]
    params = 2048 * d + 2 * (12 * d * d + 7 * d)
    body = 2 * 16 * 2 * 12 * d * d * 157
    loss = 5.2 - 0.35 * math.log10(params) + 0.006 * seed
    rate = 4e4 / (params**0.65)
    steps = 600
    out = {
        "format_version": 1,
        "model": f"{architecture}-{size}",
        "status": status,
        "error": None,
        "seed": seed,
        "git_revision": "0123abc",
        "config": {
            "seed": seed,
            "train_steps": steps,
            "model": {"name": f"{architecture}-{size}"},
            "optimizer": {"name": "adafactor"},
            "data": {},
        },
        "versions": {"python": "3.11.7", "jax": "0.10.2"},
        "device": {
            "platform": "cpu",
            "kind": "cpu",
            "count": 1,
            "training": 1,
            "threads": 1,
            "host_cpu": "AMD EPYC",
        },
        "counts": {
            "model": f"{architecture}-{size}",
            "params_total": params,
            "params_embedding": 2048 * d,
            "params_non_embedding": params - 2048 * d,
            "params_active": params,
            "batch_size": 16,
            "encoder_length": 128,
            "decoder_length": 29,
            "macs_forward_batch": body // 2 + 16 * (128 + 2 * 128) * 2048 * d,
            "macs_decoder_length": 128,
            "flops_forward": body + 2 * 16 * 29 * 2048 * d,
            "flops_forward_non_embedding": body,
            "flops_train_step": 3 * (body + 2 * 16 * 29 * 2048 * d),
            "flops_forward_executed": body + 2 * 16 * 29 * 2048 * d,
            "flops_train_step_executed": 3 * body,
            "flops_train_step_remat_executed": 4 * body,
        },
        "data": {
            "store": "somewhere/store",
            "corpus_hash": "c0ffee",
            "python_version": "3.11.7",
            "vocabulary_sha256": "beef",
            "train_tokens": 4_000_000,
            "tokens_seen": steps * 16 * 141,
            "unique_tokens_seen": steps * 16 * 141,
            "epochs": 0.34,
        },
        "speed": {
            "steps_per_second_median": rate,
            "steps_per_second_iqr": rate * 0.03,
            "tokens_per_second_median": rate * 16 * 157,
            "num_windows": 28,
            "window_steps": 20,
            "noisy": False,
            "mfu": None,
            "peak_flops_per_second": None,
            "fraction_of_measured_matmul": 0.41,
            "measured_matmul_flops_per_second": 8e10,
            "processor_lost_to_others": 0.01,
        },
        "wall_seconds": {
            "total": steps / rate + 14,
            "compile": 8.6,
            "calibration": 0.4,
            "input_wait": 0.4,
            "step": steps / rate,
            "evaluation": 3.0,
            "checkpoint": 1.0,
            "other": 0.6,
        },
        "metrics": {
            "step": steps,
            "train/loss": loss + 0.05,
            "validation/loss": loss,
            "validation/neg_log_perplexity": -loss,
            "validation/accuracy": 0.3,
            "validation/tokens": 40_000,
        },
        "started_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:01:00Z",
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = out
        for parent in parents:
            node = node[parent]
        node[last] = value
    return out


def write_run(folder: pathlib.Path, contents: dict, spikes=()) -> pathlib.Path:
    """Writes one run directory; the loss falls from ln 2048 to its final value."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(contents))
    end = contents["metrics"]["train/loss"]
    lines = []
    for step in range(10, contents["config"]["train_steps"] + 1, 10):
        line = {"step": step, "train/loss": end + (7.6 - end) * math.exp(-step / 90)}
        if step in spikes:
            line["health/loss_spike"] = True
        if step % 200 == 0:
            line["validation/loss"] = line["train/loss"] - 0.05
        lines.append(json.dumps(line) + "\n")
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


def write_losses(directory: pathlib.Path, losses: dict) -> pathlib.Path:
    """Writes a run per entry of (architecture, size, order, seed) -> loss in nats."""
    for (architecture, size, order, seed), loss in losses.items():
        contents = record(
            size,
            seed,
            architecture,
            config__data={"order": order},
            **{"metrics__validation/loss": loss},
        )
        name = f"{architecture}-{size}-o{order}-s{seed}"
        write_run(directory / "runs" / name, contents)
    return directory


def rows(directory: pathlib.Path) -> list[rows_lib.Row]:
    """Returns the table of runs of a folder, as a report makes it."""
    return copies.mark(
        sorted(map(rows_lib.make_row, records.load_runs(directory)), key=rows_lib.order)
    )


def write_study(directory: pathlib.Path) -> pathlib.Path:
    """Writes a finished study of four sizes, with two seeds of pico."""
    for size, seed in [(s, 0) for s in SIZES] + [("pico", 1)]:
        write_run(
            directory / "runs" / f"transformer-{size}-s{seed}", record(size, seed)
        )
    (directory / "study.json").write_text(json.dumps({"command": "clinometer study"}))
    return directory


def write_study_with_claims(
    directory: pathlib.Path, claims: bytes, recorded: bytes | None = None
) -> pathlib.Path:
    """Writes a finished study that was made for a file of claims.

    Args:
        directory: the study's folder.
        claims: text of its file of claims.
        recorded: text of the file that the runs were made for, if another.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "claims.py").write_bytes(claims)
    made_for = hashlib.sha256(claims if recorded is None else recorded).hexdigest()
    passes = {}
    for size, seed in [(s, 0) for s in SIZES] + [("pico", 1)]:
        contents = record(size, seed)
        contents["config"]["study"] = {
            "role": "final",
            "pass_number": 1 + seed,
            "claims": made_for,
        }
        name = f"transformer-{size}-s{seed}"
        passes[name] = 1 + seed
        write_run(directory / "runs" / name, contents)
    (directory / "study.json").write_text(json.dumps({"passes": passes}))
    return directory


def write_finetuning(
    run: pathlib.Path,
    scores: dict,
    name="study",
    step=600,
    seed=0,
    learning_rate=0.01,
    items=None,
    likelihoods=None,
    **changes,
) -> pathlib.Path:
    """Writes a fine-tuning of a run.

    Args:
        run: directory of the pretrained run.
        scores: task -> its best score and its standard error, in percent.
        name: folder of the fine-tuning.
        step: step of the run's checkpoint; None if from scratch.
        seed: of the fine-tuning.
        learning_rate: of the fine-tuning.
        items: task -> which of its items are right, [N]; replaces `scores`.
        likelihoods: task -> those of its `items`, where 1 is 100 %, [N].
        changes: fields of the record.
    """
    folder = run / "finetune" / name
    scores, best_step, recorded = dict(scores), 80, {}
    for task, right in (items or {}).items():
        number = task_scores.mean(right)
        scores[task] = float(number), number.standard_error
        place = folder / "predictions" / str(best_step)
        place.mkdir(parents=True, exist_ok=True)
        examples = [task_lib.Example(f"{task} {k}", "", 0) for k in range(len(right))]
        metrics = {"accuracy": number}
        if task in (likelihoods or {}):
            metrics["likelihood"] = task_scores.mean(likelihoods[task])
            recorded[task] = {"likelihood": float(metrics["likelihood"])}
        item_scores.write(place / f"{task}.npz", examples, metrics, ["accuracy"])
    contents = {
        "format_version": 1,
        "model": "transformer-pico",
        "status": "finished",
        "seed": seed,
        "config": {
            "seed": seed,
            "data": {"mixture": ",".join(scores), "order": seed},
            "schedule": {"learning_rate": learning_rate},
        },
        "initial": None if step is None else {"run": str(run), "step": step},
        "data": {"tasks": {task: {"majority": 50.0} for task in scores}},
        "downstream": {
            "tasks": {
                task: {
                    "best": best,
                    "best_step": best_step,
                    "standard_error": error,
                    "low": best - 2 * error,
                    "high": best + 2 * error,
                    **recorded.get(task, {}),
                }
                for task, (best, error) in scores.items()
            }
        },
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(contents))
    return folder
