"""The fields of a run's configuration: what each means, and which values it takes.

The one source for `--help`, for what is refused before anything is compiled, and for
whoever reads the defaults in `configs/`. The model's own fields are those of the
architecture's config, whose docstring says what they are.
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
from clinometer.train import errors
from clinometer.train import initial
from clinometer.train import optimizer
from clinometer.train import schedules
from clinometer.train.configs import pretrain
from clinometer.train.downstream import options as downstream_options
from clinometer.train.run import record as run_record

MOST_TOKENS = 1 << 20  # of an input or output
_WIDTH = 80


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of the configuration.

    Attributes:
        meaning: what it is, with its unit; None for it, if it may be None.
        accepts: a range of numbers, the names to choose from, `bool` or `str`.
        optional: None is accepted, too.
    """

    meaning: str
    accepts: ranges.Whole | ranges.Real | tuple[str, ...] | type
    optional: bool = False

    def check(self, value: Any) -> None:
        """Raises OptionError where a value is of another type or out of range."""
        if value is None and self.optional:
            return
        if isinstance(self.accepts, tuple):
            if value not in self.accepts:
                raise OptionError(
                    f"unknown {ranges.shown(value)}; accepted: "
                    f"{', '.join(self.accepts)}"
                )
            return
        if not isinstance(value, self._types()) or (
            isinstance(value, bool) and self.accepts is not bool
        ):
            raise OptionError(f"got {ranges.shown(value)}, accepted: {self.choices}")
        if not isinstance(self.accepts, type):
            self.accepts.check(value)

    @property
    def choices(self) -> str:
        """What is accepted, in words."""
        if isinstance(self.accepts, tuple):
            words = ", ".join(self.accepts)
        else:
            named = {bool: "true or false", str: "text"}
            words = named.get(self.accepts, str(self.accepts))
        return words + (", or none" if self.optional else "")

    def _types(self) -> tuple[type, ...]:
        if isinstance(self.accepts, type):
            return (self.accepts,)
        return (int, float) if isinstance(self.accepts, ranges.Real) else (int,)


_AT_LEAST_ONE = ranges.Whole(1)
_NOT_NEGATIVE = ranges.Real()
_POSITIVE = ranges.Real(without_least=True)
_SHARE = ranges.Real(0, 1)
_BELOW_ONE = ranges.Real(0, 1, without_most=True)
_LENGTH = ranges.Whole(1, MOST_TOKENS)
_ROWS = downstream_options.RANGES["batch_size"]

_COMMON = {
    "kind": Field("of run; the configuration's file sets it", run_record.KINDS),
    "seed": Field("of initialisation and dropout", ranges.SEED),
    "train_steps": Field("steps of the whole run", _AT_LEAST_ONE),
    "model.name": Field("ARCHITECTURE-[OPERATORS-]SIZE", str),
    "model.vocab_size": Field(
        "rows of the embedding table; none for the store's vocabulary, padded to a "
        "multiple of 128",
        _AT_LEAST_ONE,
        optional=True,
    ),
    "num_microbatches": Field(
        "parts that a batch is cut into, to save memory; the gradient stays the same",
        _AT_LEAST_ONE,
    ),
    "z_loss": Field("weight of the squared log-partition in the loss", _NOT_NEGATIVE),
    "optimizer.name": Field("the optimizer", optimizer.NAMES),
    "optimizer.decay_rate": Field(
        "adafactor: beta2(t) = 1 - (t + 1)^-decay_rate",
        ranges.Real(0, 1, without_least=True),
    ),
    "optimizer.clipping_threshold": Field(
        "adafactor: largest RMS of an update", _POSITIVE
    ),
    "optimizer.min_dim_size_to_factor": Field(
        "adafactor: second moments of matrices from this size on are factored",
        _AT_LEAST_ONE,
    ),
    "optimizer.b1": Field("adamw: decay of the first moment", _BELOW_ONE),
    "optimizer.b2": Field("adamw: decay of the second moment", _BELOW_ONE),
    "optimizer.eps": Field("adamw: added to the root of the second moment", _POSITIVE),
    "optimizer.weight_decay": Field(
        "adamw: decoupled; each step takes rate x decay x weight away", _NOT_NEGATIVE
    ),
    "schedule.name": Field("of the learning rate", schedules.NAMES),
    "schedule.learning_rate": Field(
        "rsqrt: it is divided by sqrt(max(step, warmup_steps)); others: the peak",
        _POSITIVE,
    ),
    "schedule.warmup_steps": Field("rsqrt only", _AT_LEAST_ONE),
    "schedule.warmup_fraction": Field("of train_steps; wsd and cosine", _SHARE),
    "schedule.decay_fraction": Field("of train_steps; wsd", _SHARE),
    "schedule.final_fraction": Field("of the peak; wsd and cosine", _SHARE),
    "eval.every_steps": Field(
        "steps between validations; the last step is one", _AT_LEAST_ONE
    ),
    "eval.max_rows": Field(
        "validation rows, spread over the split; none for all", _AT_LEAST_ONE, True
    ),
    "checkpoint.every_steps": Field(
        "steps between checkpoints; the last step is one", _AT_LEAST_ONE
    ),
    "checkpoint.keep_last": Field("the newest that are kept", _AT_LEAST_ONE),
    "checkpoint.keep_best": Field(
        "the best that are kept: by validation loss, of those saved; in fine-tuning by "
        "each task's score, and a new best is saved at once",
        ranges.Whole(),
    ),
    "checkpoint.keep_every_steps": Field(
        "keep for good the ones next to its multiples; none for none of them",
        _AT_LEAST_ONE,
        optional=True,
    ),
    "initial.run": Field(
        "another run's directory, to start from its parameters", str, optional=True
    ),
    "initial.step": Field(
        "of its checkpoint; none for the newest", ranges.Whole(), optional=True
    ),
    "initial.optimizer_slots": Field(
        "start the optimizer's state anew, or as the other run left it", initial.SLOTS
    ),
    "log.every_steps": Field("steps between records of metrics.jsonl", _AT_LEAST_ONE),
    "log.health_every_steps": Field(
        "steps between measurements of health/*; 0 for never", ranges.Whole()
    ),
    "log.spike_window": Field(
        "logged losses that a spike is compared with", ranges.Whole(1, 1 << 20)
    ),
    "log.spike_threshold": Field(
        "of a spike: median absolute deviations above the median", _POSITIVE
    ),
    "log.tensorboard": Field("write TensorBoard's logs, too", bool),
    "log.peak_flops_per_second": Field(
        "of one device, for the MFU; none for the published peak, where there is one",
        _POSITIVE,
        optional=True,
    ),
    "profile.start_step": Field(
        "first step of a profile; none for no profile", ranges.Whole(), optional=True
    ),
    "profile.num_steps": Field("steps of the profile", _AT_LEAST_ONE),
    "data.store": Field(
        "a token store, of `clinometer tokenize`; must be given", str, optional=True
    ),
    "data.batch_size": Field("rows of a step", _ROWS),
    "data.encoder_length": Field("tokens of an input", _LENGTH),
    "data.seed": Field("of the rows' order, and of what is cut out", ranges.SEED),
}
_PRETRAINING = {
    "data.noise_density": Field(
        "share of the raw tokens that is cut out",
        ranges.Real(0, 1, without_least=True, without_most=True),
    ),
    "data.mean_noise_span_length": Field("tokens cut out in a row", ranges.Real(1)),
}
_DECODING = "validation examples: "
_OF_DECODING = downstream_options.RANGES
_FINETUNING = {
    "data.mixture": Field(
        "names of mixtures and tasks, with commas between them; must be given",
        str,
        optional=True,
    ),
    "data.folder": Field(
        "of the releases' files; tasks of the embedded corpus need none", str, True
    ),
    "data.rate_limit": Field(
        "rates are min(examples, rate_limit) ** (1 / temperature); none for no limit",
        _AT_LEAST_ONE,
        optional=True,
    ),
    "data.temperature": Field("of the rates, see rate_limit", _POSITIVE),
    "data.packing": Field("several examples in a row, told apart by segments", bool),
    "data.decoder_length": Field("tokens of a target", _LENGTH),
    "eval.decoding": Field(
        f"{_DECODING}how they are decoded, every eval.every_steps; rank takes the "
        "likeliest of a task's labels",
        downstream_options.METHODS,
    ),
    "eval.beam_size": Field(f"{_DECODING}beams, of beam", _OF_DECODING["beam_size"]),
    "eval.length_penalty": Field(
        f"{_DECODING}alpha, of beam", _OF_DECODING["length_penalty"]
    ),
    "eval.temperature": Field(f"{_DECODING}of sample", _OF_DECODING["temperature"]),
    "eval.top_k": Field(f"{_DECODING}of sample; 0 for all", _OF_DECODING["top_k"]),
    "eval.top_p": Field(f"{_DECODING}of sample", _OF_DECODING["top_p"]),
    "eval.seed": Field(f"{_DECODING}of sample", _OF_DECODING["seed"]),
    "eval.batch_size": Field(f"{_DECODING}decoded at once", _OF_DECODING["batch_size"]),
    "eval.max_examples": Field(
        f"{_DECODING}of a task; none for all",
        _OF_DECODING["max_examples"],
        optional=True,
    ),
}

_OWN = {run_record.PRETRAINING: _PRETRAINING, run_record.FINETUNING: _FINETUNING}


def known(config: Mapping[str, Any]) -> dict[str, Field]:
    """Returns the fields that a configuration of its kind has, by their flat names."""
    return _COMMON | _OWN[config["kind"]]


def check(config: config_dict.ConfigDict) -> None:
    """Checks every field but the model's own, which `models.build` checks.

    Raises:
        RunError: a field is missing, of another type or out of range; names it.
    """
    if not isinstance(config.get("data"), config_dict.ConfigDict):
        raise errors.ConfigError(f"config.data: missing; {pretrain.__name__} has all")
    flat = config_lib.flatten(config_lib.to_dict(config))
    _check_fields({"kind": _COMMON["kind"]}, flat)  # It decides on the others.
    _check_fields(known(config), flat)


def _check_fields(fields: Mapping[str, Field], flat: Mapping[str, Any]) -> None:
    for name, field in fields.items():
        if name not in flat:
            raise errors.ConfigError(
                f"config.{name}: missing; it is {field.meaning} ({field.choices})"
            )
        try:
            field.check(flat[name])
        except OptionError as error:
            raise errors.ConfigError(f"config.{name}: {error}") from None


def describe(config: config_dict.ConfigDict) -> str:
    """Returns all fields with meaning, choices and defaults, as `--help` has them."""
    flat = config_lib.flatten(config_lib.to_dict(config))
    lines = []
    for name, field in known(config).items():
        lines.append(f"  --config.{name}={flat[name]}")
        lines += _indented(f"{field.meaning} ({field.choices})")
    lines.append("\n  and each field of the model's config, with its default:")
    for owner, kind in _model_configs():
        lines.append(f"\n  {owner}")
        for field, default, meaning in _own_fields(kind):
            lines.append(f"  --config.model.{field}={default}")
            lines += _indented(meaning)
    return "\n".join(lines)


def _model_configs() -> Iterator[tuple[str, type]]:
    yield "every architecture", models.TransformerConfig
    for name, architecture in models.ARCHITECTURES.items():
        if architecture.config is not models.TransformerConfig:
            yield name, architecture.config


def _own_fields(kind: type) -> Iterator[tuple[str, Any, str]]:
    """Name, default and meaning of the fields that a config has beyond the common."""
    common = {field.name for field in dataclasses.fields(models.TransformerConfig)}
    meanings = {}
    for base in reversed(kind.__mro__):
        # Docstrings are gone under python -OO; names and defaults are not.
        meanings |= _attributes(base.__doc__ or "")
    for field in dataclasses.fields(kind):
        if field.name == "vocab_size":
            continue  # Listed above: the store decides.
        if kind is models.TransformerConfig or field.name not in common:
            unset = field.default is dataclasses.MISSING
            default = "SIZE'S" if unset else field.default
            yield field.name, default, meanings.get(field.name, "")


def _attributes(doc: str) -> dict[str, str]:
    """Reads the section "Attributes" of a docstring."""
    section = inspect.cleandoc(doc).partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _indented(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6
    )
