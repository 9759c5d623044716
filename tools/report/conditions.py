"""Reads the conditions of a run from its record: what makes two runs comparable.

The columns are those of `fit/comparable.py`, which says how they are compared, except
for plain attributes of the record.
"""

from collections.abc import Mapping
from typing import Any

from clinometer import models
from clinometer.train.run import record as run_record

FIXED = "fixed at"
# How orders were drawn before records said it, see `data/pretraining/batches.py`.
_FIRST_ORDER_PROTOCOL = "shuffled epochs"
# Fields of `config.model` that are no settings of the single model.
_SHARED = ("vocab_size", "dtype", "dropout_rate", "scan_layers", "remat")


def columns(record: run_record.Record) -> dict[str, Any]:
    """Returns column -> value; a value that the record does not have is None."""
    config = record.config
    model, data = config.model, config.data
    own = {key: v for key, v in model.overrides.items() if key not in _SHARED}
    return {
        "data_order": data.data_order,
        "d_model": _width(record),
        "vocab_size": model.vocab_size,
        "dtype": model.dtype,
        "dropout_rate": model.dropout_rate,
        "model_overrides": listed(own),
        "noise_density": data.noise_density,
        "mean_noise_span_length": data.mean_noise_span_length,
        "order_protocol": record.data.order_protocol or _FIRST_ORDER_PROTOCOL,
        "validation_rows": config.eval.max_rows,
        "z_loss": config.z_loss,
        "num_microbatches": config.num_microbatches,
        "optimizer": listed(config.optimizer),
        "schedule": listed(config.schedule.settings),
        "learning_rate": config.schedule.learning_rate,
        "rate_protocol": rate_protocol(record),
        "initial": _start(record.initial),
    }


def rate_protocol(record: run_record.Record) -> str | None:
    """Returns how the learning rate was chosen.

    It is "fixed at X", see `FIXED`, one rate for all runs, unless the run's study took
    the rates of its sizes from a table; then it is "table HASH".
    """
    if record.study.rate_table:
        return f"table {record.study.rate_table}"
    rate = record.config.schedule.learning_rate
    return None if rate is None else f"{FIXED} {rate:g}"


def listed(values: Mapping[str, Any]) -> str:
    """Formats settings as "key=value key=value", sorted and without None."""
    shown = (
        f"{key}={values[key]}" for key in sorted(values) if values[key] is not None
    )
    return " ".join(shown)


def _start(initial: run_record.Initial | None) -> str:
    if initial is None:
        return "random"
    if initial.branch and initial.same_rates:  # As trained from the start.
        return _start(initial.before)
    slots = f"optimizer {initial.optimizer_slots}" + ", branch" * bool(initial.branch)
    return f"{initial.run} at step {initial.step}, {slots}"


def _width(record: run_record.Record) -> int | None:
    """Returns d_model; None if this version does not know the model."""
    config = record.config.model
    try:
        model = models.build(config.name or record.model, **config.overrides)
    except (models.ModelNameError, models.ConfigError):
        return None
    return getattr(model.config, "d_model", None)
