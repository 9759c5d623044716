"""Writes run directories with a certain telemetry."""

import pathlib
import random
from typing import Any

from clinometer.train.run import directory
from clinometer.train.run import record as record_lib

STEPS = 1000
EVERY = 20
_CONFIG = {
    "train_steps": STEPS,
    "model": {"name": "transformer-pico", "vocab_size": 2048},
    "optimizer": {"name": "adafactor"},
    "schedule": {"learning_rate": 0.03},
    "log": {"spike_threshold": 8.0},
}


def loss(step: int) -> float:
    """A falling training loss, up to 0.02 nats off by chance."""
    return 4 + 3 * 0.99**step + random.Random(step).uniform(-0.02, 0.02)


def healthy(last: int = STEPS) -> list[dict[str, Any]]:
    """Returns the log of a healthy run up to a step."""
    records = []
    for step in range(EVERY, last + 1, EVERY):
        record = {"step": step, "train/loss": loss(step), "train/loss_spike": False}
        if step % 100 == 0:
            record |= {
                "validation/loss": loss(step) + 0.01,
                "health/update_ratio/decoder": 0.02,
                "health/parameter_rms/decoder": 0.1,
                "health/gradient_rms/decoder": 1e-3,
                "health/decoder/self_attention/entropy": [0.02, 1.5],
                "health/encoder/self_attention/entropy": [4.1, 4.76],
            }
        records.append(record)
    return records


def changed(records: list[dict[str, Any]], since: int, **fields: Any) -> list[dict]:
    """Returns a log with other values from a step on, of the records that have them.

    Args:
        records: the log.
        since: the first step.
        **fields: name, with `__` for `/`, -> value, or function of the step.
    """
    named = {name.replace("__", "/"): value for name, value in fields.items()}
    made = []
    for record in records:
        if record["step"] >= since:
            record = record | {
                name: value(record["step"]) if callable(value) else value
                for name, value in named.items()
                if name in record
            }
        made.append(record)
    return made


def write(
    path: pathlib.Path, records: list[dict[str, Any]] | None = None, **fields: Any
) -> pathlib.Path:
    """Writes a run directory.

    Args:
        path: the run directory.
        records: the log; None for none.
        **fields: fields of the record that differ from those of a finished run.
    """
    path.mkdir(parents=True)
    run = directory.RunDirectory(path)
    last = records[-1] if records else {"step": STEPS, "train/loss": 4.0}
    config = _CONFIG | fields.pop("config", {})
    named = {name: last[name] for name in ("step", "train/loss") if name in last}
    run.write_record(
        record_lib.from_json(
            {
                "format_version": record_lib.FORMAT_VERSION,
                "model": config["model"]["name"],
                "kind": "pretraining",
                "status": "finished",
                "seed": 0,
                "config": config,
                "counts": {"encoder_length": 128, "decoder_length": 29},
                "data": {"train_tokens": 1e6, "tokens_seen": 500 * last["step"]},
                "wall_seconds": {"input_wait": 5.0, "step": 60.0},
                "metrics": named | {"validation/loss": 4.01},
                **fields,
            }
        )
    )
    if records is not None:
        log = run.metrics.append_after(0)
        for record in records:
            log.write(record["step"], {k: v for k, v in record.items() if k != "step"})
        log.close()
    return path
