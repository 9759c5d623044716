"""Documentation and accepted values of every configuration field.

Both `--help` and the check that runs before anything is compiled use this table. The
remaining `config.model.*` fields are those of the architecture's config class and are
documented in its docstring.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import inspect
import re
import textwrap
from typing import Any

from ml_collections import config_dict

from clinometer import models
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.train import config as config_lib
from clinometer.train import data_fields
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train import initial
from clinometer.train import optimizer
from clinometer.train import schedules
from clinometer.train.configs import pretrain
from clinometer.train.downstream import options as downstream_options
from clinometer.train.field import Field
from clinometer.train.run import record as run_record
from clinometer.train.run import recorded_config

_WIDTH = 80


_AT_LEAST_ONE = ranges.Whole(1)
_NOT_NEGATIVE = ranges.Real()
_POSITIVE = ranges.Real(without_least=True)
_SHARE = ranges.Real(0, 1)
_BELOW_ONE = ranges.Real(0, 1, without_most=True)
_ROWS = downstream_options.RANGES["batch_size"]

_COMMON = {
    "kind": Field("Kind of the run, set by the configuration file.", run_record.KINDS),
    "seed": Field("Seed for parameter initialisation and dropout.", ranges.SEED),
    "train_steps": Field("Number of training steps in the whole run.", _AT_LEAST_ONE),
    "model.name": Field("Name of the model: ARCHITECTURE-[OPERATORS-]SIZE.", str),
    "mesh.data": Field(
        "Number of parts of the batch, each with a copy of the parameters. None takes "
        "the devices that the other axes of the mesh leave.",
        _AT_LEAST_ONE,
        optional=True,
    ),
    "mesh.fsdp": Field(
        "Number of parts that the parameters' embed axes are divided into, and the "
        "batch further divided.",
        _AT_LEAST_ONE,
    ),
    "mesh.expert": Field(
        "Number of parts that the experts are divided into, and the batch further "
        "divided.",
        _AT_LEAST_ONE,
    ),
    "mesh.model": Field(
        "Number of parts that heads, feed-forward layers and the vocabulary are "
        "divided into (model parallelism). None takes that of the papers for the "
        "model's size (2 for large, 8 for xl, 32 for xxl, otherwise 1), or its "
        "greatest common divisor with the number of devices.",
        _AT_LEAST_ONE,
        optional=True,
    ),
    "mesh.rules": Field(
        "Partition rules that replace those of train/sharding/rules.py: AXIS=MESH_AXIS "
        "for the axes of a name, AXIS*AXIS=MESH_AXIS*MESH_AXIS for whole parameters, "
        "separated by commas, such as vocab=none.",
        str,
    ),
    "microbatch": Field(
        "fixed splits each batch into num_microbatches. auto takes the least number, "
        "from num_microbatches on, with which the run fits in the memory of a device, "
        "by compiling it ahead of time; a run that is resumed keeps its number, and "
        "a branch that of its trunk.",
        ("fixed", "auto"),
    ),
    "num_microbatches": Field(
        "Number of microbatches that each batch is split into to save memory, in "
        "training, where their gradients are accumulated, and evaluation. Must divide "
        "data.batch_size.",
        _AT_LEAST_ONE,
    ),
    "device_memory_bytes": Field(
        "Bytes of memory of one device, for microbatch=auto and for advice when memory "
        "runs out. None asks the devices; CPU devices share the available memory of "
        "the host.",
        ranges.Whole(1, 1 << 60),
        optional=True,
    ),
    "z_loss": Field(
        "Weight of the z-loss, the squared log-partition function.", _NOT_NEGATIVE
    ),
    "optimizer.name": Field("Optimizer.", optimizer.NAMES),
    "optimizer.decay_rate": Field(
        "adafactor: exponent of the second-moment decay, "
        "beta2(t) = 1 - (t + 1)^-decay_rate.",
        ranges.Real(0, 1, without_least=True),
    ),
    "optimizer.clipping_threshold": Field(
        "adafactor: largest RMS of a parameter's update; larger ones are scaled down.",
        _POSITIVE,
    ),
    "optimizer.min_dim_size_to_factor": Field(
        "adafactor: smallest size that two dimensions of a parameter must have for its "
        "second moments to be factored.",
        _AT_LEAST_ONE,
    ),
    "optimizer.b1": Field("adamw: decay rate of the first moment.", _BELOW_ONE),
    "optimizer.b2": Field("adamw: decay rate of the second moment.", _BELOW_ONE),
    "optimizer.eps": Field(
        "adamw: constant added to the square root of the second moment.", _POSITIVE
    ),
    "optimizer.weight_decay": Field(
        "adamw: decoupled weight decay; each step subtracts learning_rate x "
        "weight_decay x parameter.",
        _NOT_NEGATIVE,
    ),
    "schedule.name": Field("Learning-rate schedule.", schedules.NAMES),
    "schedule.learning_rate": Field(
        "Peak learning rate. With rsqrt, the rate is this value divided by "
        "sqrt(max(step, warmup_steps)).",
        _POSITIVE,
    ),
    "schedule.warmup_steps": Field(
        "rsqrt: number of steps at the constant initial rate. linear: length of the "
        "warmup, in steps.",
        _AT_LEAST_ONE,
    ),
    "schedule.warmup_fraction": Field(
        "wsd, cosine: length of the warmup, as a fraction of train_steps.", _SHARE
    ),
    "schedule.decay_fraction": Field(
        "wsd: length of the linear decay, as a fraction of train_steps.", _SHARE
    ),
    "schedule.final_fraction": Field(
        "wsd, cosine, linear: learning rate at the end, as a fraction of the peak.",
        _SHARE,
    ),
    "eval.every_steps": Field(
        "Number of steps between evaluations. The last step is always evaluated.",
        _AT_LEAST_ONE,
    ),
    "eval.max_rows": Field(
        "Maximum number of rows for the validation loss, spaced evenly over the "
        "validation split. None takes all rows.",
        _AT_LEAST_ONE,
        optional=True,
    ),
    "checkpoint.every_steps": Field(
        "Number of steps between checkpoints. The last step is always saved.",
        _AT_LEAST_ONE,
    ),
    "checkpoint.keep_last": Field("Number of latest checkpoints kept.", _AT_LEAST_ONE),
    "checkpoint.keep_best": Field(
        "Number of best checkpoints also kept. Pretraining ranks the saved ones by "
        "validation loss; fine-tuning keeps this many for each task, by its score, and "
        "saves a new best checkpoint at once.",
        ranges.Whole(),
    ),
    "checkpoint.keep_every_steps": Field(
        "Also keep, permanently, the checkpoint closest to each multiple of this many "
        "steps. None keeps no such checkpoints.",
        _AT_LEAST_ONE,
        optional=True,
    ),
    "compilation_cache": Field(
        "Folder in which compiled programs are kept, so that a run that is resumed "
        "starts sooner; hosts must share it, and it may be in an object store. None "
        "keeps none, unless JAX_COMPILATION_CACHE_DIR is set.",
        str,
        optional=True,
    ),
    "initial.run": Field(
        "Directory of a run to load the initial parameters from. None draws them at "
        "random.",
        str,
        optional=True,
    ),
    "initial.step": Field(
        "Step of the checkpoint of initial.run to load. None loads the newest.",
        ranges.Whole(),
        optional=True,
    ),
    "initial.optimizer_slots": Field(
        "Whether to reset the optimizer state or keep the one saved by initial.run.",
        initial.SLOTS,
    ),
    "initial.branch": Field(
        "Whether to go on at the step of the checkpoint, with the order of the data of "
        "initial.run. initial.optimizer_slots must be keep, and only the schedule and "
        "train_steps may differ. A schedule wsd decays from step S to the last step T "
        "with decay_fraction (T - S) / T.",
        bool,
    ),
    "log.every_steps": Field(
        "Number of steps between training records in metrics.jsonl.", _AT_LEAST_ONE
    ),
    "log.health_every_steps": Field(
        "Number of steps between health/* metrics. 0 disables them.", ranges.Whole()
    ),
    "log.spike_window": Field(
        "Number of earlier logged losses that train/loss_spike compares with.",
        ranges.Whole(1, 1 << 20),
    ),
    "log.spike_threshold": Field(
        "Rise of the logged loss that counts as a spike, in multiples of the scatter "
        "of the earlier losses around their trend.",
        _POSITIVE,
    ),
    "log.trackers": Field(
        "What else receives the metrics, while the run goes on: names separated by "
        "commas, of tensorboard (event files in the run directory), wandb (Weights & "
        "Biases) and mlflow; empty for none. A tracker that fails is turned off, and "
        "the run goes on.",
        str,
    ),
    "log.peak_flops_per_second": Field(
        "Peak FLOPs per second of one device, used to compute the MFU. None takes the "
        "published peak if the device is known.",
        _POSITIVE,
        optional=True,
    ),
    "profile.start_step": Field(
        "Number of steps before the profile starts. None disables profiling.",
        ranges.Whole(),
        optional=True,
    ),
    "profile.num_steps": Field("Number of steps to profile.", _AT_LEAST_ONE),
    "hosts.watchdog_seconds": Field(
        "Seconds after which a train step counts as stuck, unless 20 times the median "
        "of the last steps is longer. The process then prints the stacks of its "
        f"threads and exits with code {exit_codes.LOST}.",
        _POSITIVE,
    ),
    "hosts.watchdog_other_seconds": Field(
        "The same for everything else, such as compilation, the first step, an "
        "evaluation or a checkpoint.",
        _POSITIVE,
    ),
    "study.role": Field(
        "What the run is for in a study; set, like all of study.*, by `clinometer "
        "study` and only recorded. None outside of studies.",
        recorded_config.ROLES,
        optional=True,
    ),
    "study.pass_number": Field(
        "Pass of the study that the run belongs to.", _AT_LEAST_ONE, optional=True
    ),
    "study.claims": Field(
        "SHA-256 of the file of claims that the run is to decide.", str, optional=True
    ),
    "study.rate_table": Field(
        "SHA-256 of the table that the learning rate is from.", str, optional=True
    ),
    "study.rate_corpus": Field(
        "Hash of the corpus on which that learning rate was tuned.", str, optional=True
    ),
    "study.fixed_rate": Field(
        "The learning rate, if it is one for all runs of the study.",
        _POSITIVE,
        optional=True,
    ),
    "data.batch_size": Field("Number of rows per training batch.", _ROWS),
    "data.order": Field(
        "Order of the training data, as a seed: of the order of the rows and, in "
        "pretraining, of the masked spans or the crops. Runs with the same value see "
        "the same batches, whatever their seed.",
        ranges.SEED,
    ),
}
_OWN = {
    run_record.PRETRAINING: data_fields.TEXT | data_fields.PRETRAINING,
    run_record.FINETUNING: data_fields.TEXT | data_fields.FINETUNING,
    run_record.CLASSIFICATION: data_fields.CLASSIFICATION,
}


def known(config: Mapping[str, Any]) -> dict[str, Field]:
    """Returns the fields of a configuration of this kind, by flat name.

    Args:
        config: a configuration; only `kind` is read.
    """
    return _COMMON | _OWN[config["kind"]]


def check(config: config_dict.ConfigDict) -> None:
    """Checks every field except those of the model's config.

    `models.build` checks the latter.

    Raises:
        ConfigError: a field is missing, has the wrong type or is out of range; the
            message names it.
    """
    if not isinstance(config.get("data"), config_dict.ConfigDict):
        raise errors.ConfigError(
            f"config.data: missing; see {pretrain.__name__} for all fields"
        )
    flat = config_lib.flatten(config_lib.to_dict(config))
    _check_fields({"kind": _COMMON["kind"]}, flat)  # Selects the other fields.
    _check_fields(known(config), flat)


def _check_fields(fields: Mapping[str, Field], flat: Mapping[str, Any]) -> None:
    for name, field in fields.items():
        if name not in flat:
            raise errors.ConfigError(
                f"config.{name}: missing; accepted: {field.choices}. {field.meaning}"
            )
        try:
            field.check(flat[name])
        except OptionError as error:
            raise errors.ConfigError(f"config.{name}: {error}") from None


def describe(config: config_dict.ConfigDict) -> str:
    """Returns the `--help` text of all fields: descriptions, choices and defaults.

    Args:
        config: the configuration whose values are shown as the defaults.
    """
    flat = config_lib.flatten(config_lib.to_dict(config))
    lines = []
    for name, field in known(config).items():
        lines.append(f"  --config.{name}={flat[name]}")
        lines += _indented(f"{field.meaning} Accepts {field.choices}.")
    lines.append("\nfields of the model's config, with their defaults:")
    for owner, kind in _model_configs(config.kind):
        lines.append(f"\n  {owner}")
        for field, default, meaning in _own_fields(kind):
            lines.append(f"  --config.model.{field}={default}")
            lines += _indented(meaning)
    return "\n".join(lines)


def _model_configs(kind: str) -> Iterator[tuple[str, type]]:
    if kind == run_record.CLASSIFICATION:
        for name, architecture in models.IMAGE_ARCHITECTURES.items():
            yield name, architecture.config
        return
    yield "every architecture", models.TransformerConfig
    for name, architecture in models.ARCHITECTURES.items():
        if architecture.config is not models.TransformerConfig:
            yield name, architecture.config


def _own_fields(kind: type) -> Iterator[tuple[str, Any, str]]:
    """Yields (name, default, description) of fields that TransformerConfig lacks.

    For a config that is not derived from it, yields all fields.
    """
    common = set()
    if kind is not models.TransformerConfig:
        derived = issubclass(kind, models.TransformerConfig)
        base = dataclasses.fields(models.TransformerConfig) if derived else ()
        common = {field.name for field in base}
    meanings = {}
    for base in reversed(kind.__mro__):
        # Under python -OO there are no docstrings, only names and defaults.
        meanings |= _attributes(base.__doc__ or "")
    for field in dataclasses.fields(kind):
        if field.name in ("vocab_size", "num_classes"):
            continue  # Listed above, since their defaults come from the data.
        if field.name not in common:
            unset = field.default is dataclasses.MISSING
            default = "<from size>" if unset else field.default
            yield field.name, default, meanings.get(field.name, "")


def _attributes(doc: str) -> dict[str, str]:
    """Parses the "Attributes" section of a docstring, with capitals at the start."""
    section = inspect.cleandoc(doc).partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", section, re.MULTILINE)
    joined = {name: " ".join(text.split()) for name, text in found}
    return {name: text[0].upper() + text[1:] for name, text in joined.items()}


def _indented(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6
    )
