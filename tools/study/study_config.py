"""Reads the configuration of a study into typed values."""

from collections.abc import Mapping
import dataclasses
import re
from typing import Any

from ml_collections import config_dict

from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.kernels.options.errors import did_you_mean
from clinometer.models.architectures import registry
from clinometer.models.vision import config as vision_config
from clinometer.tools.inference import variance
from clinometer.tools.study import images as images_lib
from clinometer.tools.study import plan
from clinometer.tools.study import protocol as protocol_lib
from clinometer.tools.study.engines import settings as engine_settings
from clinometer.tools.study.power import settings as power_settings
from clinometer.train import config as config_lib
from clinometer.train import errors
from clinometer.train.field import Field
from clinometer.train.run import recorded_config

ROLES = (recorded_config.FINAL, recorded_config.PILOT)
_BY_ARCHITECTURE = "design.by_architecture."
_EXECUTOR = "executor."
_FINETUNINGS = "finetunings."
_NOTES = "notes."
# Fields whose own fields have any names.
_OPEN = (
    *(_BY_ARCHITECTURE, _FINETUNINGS, _NOTES),
    *(f"{_EXECUTOR}{name}" for name in engine_settings.OPEN),
)
# A fine-tuning's name is a folder's.
_FOLDER_NAME = re.compile(r"[a-z][a-z0-9_]*")
_AT_LEAST_ONE = ranges.Whole(1)
_SHARE = ranges.Real(0, 1)
_INNER_SHARE = Field("", ranges.Real(0, 1, without_least=True, without_most=True))
_POSITIVE = ranges.Real(without_least=True)
_STEEPEST = variance.STEEPEST


@dataclasses.dataclass(frozen=True)
class _Listed:
    """Accepts tuples of values."""

    each: Field

    def check(self, value: Any) -> None:
        if not isinstance(value, tuple):
            raise OptionError(
                f"got {ranges.shown(value)}, accepted: a tuple, each of "
                f"{self.each.choices}"
            )
        for one in value:
            self.each.check(one)


_NAMES = _Listed(Field("", str))
_SEEDS = _Listed(Field("", ranges.SEED))
_ORDERS = _Listed(Field("", _AT_LEAST_ONE))
_LOSSES = _Listed(Field("", _POSITIVE))
_EFFECTS = _Listed(Field("", ranges.Real()))
_INITIALIZATIONS = Field("", _AT_LEAST_ONE)
_ANY_ARCHITECTURE = {
    "sizes": _NAMES,
    "orders": _ORDERS,
    "initializations": _INITIALIZATIONS,
}
_FIELDS = {
    "architectures": _NAMES,
    "sizes": _NAMES,
    "store": Field("", str, optional=True),
    "claims": Field("", str, optional=True),
    "records": Field("", str, optional=True),
    "design.role": Field("", ROLES),
    "design.seeds": _SEEDS,
    "design.replicate": _SEEDS,
    "design.replicate_largest": Field("", bool),
    "design.orders": _ORDERS,
    "design.first_order": Field("", _AT_LEAST_ONE),
    "design.initializations": _INITIALIZATIONS,
    "design.margin": Field("", _POSITIVE, optional=True),
    "protocol.learning_rate": Field("", _POSITIVE, optional=True),
    "protocol.rates": Field("", str, optional=True),
    "protocol.extrapolate": Field("", bool),
    "protocol.kind": Field("", protocol_lib.KINDS),
    "protocol.vocab_size": Field("", _AT_LEAST_ONE),
    "protocol.train_steps": Field("", _AT_LEAST_ONE),
    "protocol.batch_size": Field("", _AT_LEAST_ONE),
    "protocol.encoder_length": Field("", _AT_LEAST_ONE),
    "protocol.dropout_rate": Field("", ranges.Real(0, 1, without_most=True)),
    "protocol.dtype": Field("", ("float32", "bfloat16")),
    "protocol.scan_layers": Field("", bool),
    "protocol.warmup_fraction": Field("", _SHARE),
    "protocol.decay_fraction": Field("", _SHARE),
    "downstream.mixture": Field("", str),
    "downstream.data": Field("", str, optional=True),
    "downstream.train_steps": Field("", _AT_LEAST_ONE),
    "downstream.learning_rate": Field("", _POSITIVE),
    "downstream.rows": Field("", _AT_LEAST_ONE),
    "downstream.examples": Field("", _AT_LEAST_ONE),
    "downstream.decoder_length": Field("", _AT_LEAST_ONE),
    "downstream.decoding": Field("", protocol_lib.DECODINGS),
    "images.folder": Field("", str, optional=True),
    "images.classes": Field("", str),
    "images.validation_share": _INNER_SHARE,
    "images.size": Field("", _AT_LEAST_ONE),
    "images.patch_size": Field("", _AT_LEAST_ONE),
    "images.pooling": Field("", vision_config.POOLINGS),
    "images.loss": Field("", vision_config.LOSSES),
    "images.label_smoothing": Field("", ranges.Real(0, 1, without_most=True)),
    "images.min_area": Field("", ranges.Real(0, 1, without_least=True)),
    "images.flip": Field("", bool),
    "images.mixup": Field("", ranges.Real()),
    "fewshot.folder": Field("", str, optional=True),
    "fewshot.classes": Field("", str),
    "fewshot.shots": _Listed(Field("", _AT_LEAST_ONE)),
    "fewshot.seeds": _SEEDS,
    "fewshot.test_share": _INNER_SHARE,
    "power.draws": Field("", ranges.Whole(100, 100_000)),
    "power.seed": Field("", ranges.SEED),
    "power.sd": Field("", _POSITIVE),
    "power.sd_slope": Field("", ranges.Real(-_STEEPEST, _STEEPEST)),
    "power.order_sd": Field("", ranges.Real()),
    "power.models": _NAMES,
    "power.losses": _LOSSES,
    "power.effects": _EFFECTS,
    "power.held_out": Field("", str, optional=True),
    "power.held_out_runs": Field("", _AT_LEAST_ONE),
    "power.pilot": Field("", str, optional=True),
    **{f"{_EXECUTOR}{name}": f for name, f in engine_settings.FIELDS.items()},
}


@dataclasses.dataclass(frozen=True)
class Study:
    """The configuration of a study, checked.

    Attributes:
        runs: the planned runs, by the names of the config; without learning rates.
        architectures: their names.
        store: path of the token store; None for the embedded corpus.
        claims: path of the file of claims, or None.
        records: path of the folder of records, or None.
        role: role of the runs, one of `ROLES`.
        margin: largest difference in nats that would not matter, or None.
        protocol: the settings that all runs share.
        learning_rate: the rate of all runs; None for the table's.
        rates: path of the table of rates; None for the default.
        extrapolate: whether widths beyond the swept ones have a rate.
        power: what a simulation of the study assumes.
        engine: the executor, and what a run gets from it.
        notes: model -> what readers of its results must know.
    """

    runs: tuple[plan.PlannedRun, ...]
    architectures: tuple[str, ...]
    store: str | None
    claims: str | None
    records: str | None
    role: str
    margin: float | None
    protocol: protocol_lib.Protocol
    learning_rate: float | None
    rates: str | None
    extrapolate: bool
    power: power_settings.PowerSettings
    engine: engine_settings.EngineSettings
    notes: Mapping[str, str]


def read(config: config_dict.ConfigDict) -> Study:
    """Returns the checked values of a configuration.

    Raises:
        ConfigError: a field is unknown, missing or out of range, or two fields exclude
            each other; the message names them.
    """
    flat = check_names(config)
    for name, field in _FIELDS.items():
        _check(name, field, flat[name])
    own = _by_architecture(config)
    protocol = protocol_lib.Protocol(
        **_own_fields(protocol_lib.Protocol, config.protocol),
        downstream=protocol_lib.DownstreamSettings(
            **_own_fields(protocol_lib.DownstreamSettings, config.downstream)
        ),
        further=_finetunings(config),
        images=images_lib.ImageSettings(**config.images),
        fewshot=images_lib.FewShotSettings(**config.fewshot),
    )
    _check_kind(protocol)
    if protocol.of_images and config.store is not None:
        raise errors.ConfigError(
            f"config.store: must not be set for the kind {protocol.kind!r}, whose runs "
            "are trained on images.folder"
        )
    role = config.design.role
    if config.claims and role == recorded_config.PILOT:
        raise errors.ConfigError("config.claims: must be none for a pilot")
    runs = [dataclasses.replace(run, role=role) for run in _runs(config, own)]
    return Study(
        runs=tuple(runs),
        architectures=tuple(config.architectures),
        store=config.store,
        claims=config.claims,
        records=config.records,
        role=role,
        margin=config.design.margin,
        protocol=protocol,
        learning_rate=config.protocol.learning_rate,
        rates=config.protocol.rates,
        extrapolate=config.protocol.extrapolate,
        power=power_settings.PowerSettings(**config.power),
        engine=engine_settings.read(config.executor),
        notes=_notes(config),
    )


def check_names(config: config_dict.ConfigDict) -> dict[str, Any]:
    """Returns the configuration as a flat dict, with all fields and no other.

    Raises:
        ConfigError: a field is unknown or missing.
    """
    flat = config_lib.flatten(config_lib.to_dict(config))
    for name in flat:
        if name not in _FIELDS and not name.startswith(_OPEN):
            raise errors.ConfigError(
                f"config.{name}: unknown key{did_you_mean(name, _FIELDS)}; see "
                "tools/study/configs/study.py for all fields"
            )
    for name in _FIELDS:
        if name not in flat:
            raise errors.ConfigError(
                f"config.{name}: missing; begin with the default configuration, see "
                "tools/study/configs/study.py"
            )
    return flat


def _runs(
    config: config_dict.ConfigDict, own: Mapping[str, Mapping[str, Any]]
) -> list[plan.PlannedRun]:
    design = config.design
    by_orders = bool(design.orders) or any("orders" in each for each in own.values())
    if by_orders:
        for name in ("seeds", "replicate", "replicate_largest"):
            if design[name]:
                raise errors.ConfigError(
                    f"config.design.{name}: got {design[name]}; must be empty in a "
                    "design with orders, whose runs have seeds of their own"
                )
    elif design.initializations != 1 or any(
        "initializations" in x for x in own.values()
    ):
        raise errors.ConfigError(
            "config.design.initializations: needs design.orders; use design.seeds"
        )
    if not config.architectures:
        raise errors.ConfigError("no architectures given; a study needs at least one")
    runs = []
    for architecture in config.architectures:
        mine = own.get(architecture, {})
        sizes = mine.get("sizes", config.sizes)
        if by_orders:
            counts = mine.get("orders", design.orders)
            number = mine.get("initializations", design.initializations)
            runs += plan.plan_orders(
                architecture, sizes, counts, number, first=design.first_order
            )
        else:
            runs += plan.plan_runs(
                [architecture],
                sizes,
                design.seeds,
                replicate_seeds=design.replicate,
                replicate_largest=design.replicate_largest,
            )
    return list(dict.fromkeys(runs))


def _by_architecture(config: config_dict.ConfigDict) -> dict[str, dict[str, Any]]:
    """Returns architecture -> the fields of its own."""
    found = config_lib.to_dict(config.design.by_architecture)
    for architecture, fields in found.items():
        place = f"{_BY_ARCHITECTURE}{architecture}"
        if architecture not in config.architectures:
            raise errors.ConfigError(
                f"config.{place}: {architecture} is not among config.architectures, "
                f"{', '.join(config.architectures)}"
            )
        if not isinstance(fields, dict):
            raise errors.ConfigError(
                f"config.{place}: got {ranges.shown(fields)}, accepted: a ConfigDict "
                f"of {', '.join(_ANY_ARCHITECTURE)}"
            )
        for name, value in fields.items():
            if name not in _ANY_ARCHITECTURE:
                raise errors.ConfigError(
                    f"config.{place}.{name}: unknown key; accepted: "
                    f"{', '.join(_ANY_ARCHITECTURE)}"
                )
            _check(f"{place}.{name}", _ANY_ARCHITECTURE[name], value)
    return found


def _finetunings(
    config: config_dict.ConfigDict,
) -> tuple[protocol_lib.Finetuning, ...]:
    """Returns the fine-tunings beside that of all runs, whose fields are defaults."""
    accepted = [name for name in _FIELDS if name.startswith("downstream.")]
    accepted = ["models", *(name.partition(".")[2] for name in accepted)]
    made = []
    for name, given in config_lib.to_dict(config.finetunings).items():
        place = f"{_FINETUNINGS}{name}"
        if not _FOLDER_NAME.fullmatch(name) or name == protocol_lib.FINETUNING:
            raise errors.ConfigError(
                f"config.{place}: a name of small letters, digits and underscores is "
                f"accepted, other than {protocol_lib.FINETUNING!r}"
            )
        if not isinstance(given, dict) or not given.get("mixture"):
            raise errors.ConfigError(
                f"config.{place}: got {ranges.shown(given)}, accepted: a ConfigDict "
                f"with a mixture, and any of {', '.join(accepted)}"
            )
        for key, value in given.items():
            if key not in accepted:
                raise errors.ConfigError(
                    f"config.{place}.{key}: unknown key{did_you_mean(key, accepted)}; "
                    f"accepted: {', '.join(accepted)}"
                )
            field = _NAMES if key == "models" else _FIELDS[f"downstream.{key}"]
            _check(f"{place}.{key}", field, value)
        models = [
            _canonical(f"{place}.models", model) for model in given.pop("models", ())
        ]
        settings = {**config_lib.to_dict(config.downstream), **given}
        made.append(
            protocol_lib.Finetuning(
                name, protocol_lib.DownstreamSettings(**settings), tuple(models)
            )
        )
    return tuple(made)


def _notes(config: config_dict.ConfigDict) -> dict[str, str]:
    notes = config_lib.to_dict(config.notes)
    for model, text in notes.items():
        _check(f"{_NOTES}{model}", Field("", str), text)
    return {_canonical("notes", model): text for model, text in notes.items()}


def _canonical(place: str, model: str) -> str:
    """Returns the canonical name of a model, which need not be one of this study.

    The models can be narrowed down by options.
    """
    try:
        return registry.parse(model).canonical
    except ValueError as error:
        raise errors.ConfigError(f"config.{place}: {error}") from error


def _check_kind(protocol: protocol_lib.Protocol) -> None:
    """Refuses fields that the kind of the protocol does not use."""
    usual = protocol_lib.Protocol(kind=protocol.kind)
    unused = {
        protocol_lib.SHORT: ("images", "fewshot"),
        protocol_lib.PAPERS: ("images", "fewshot", "warmup_fraction", "decay_fraction"),
        protocol_lib.IMAGES: ("vocab_size", "encoder_length", "downstream", "further"),
    }
    groups = ("images", "fewshot", "downstream", "further")
    for name in unused[protocol.kind]:
        given = getattr(protocol, name)
        if name == "downstream" and not given.mixture:  # None, as is usual for images.
            continue
        if given != getattr(usual, name):
            place = "finetunings" if name == "further" else name
            prefix = "" if name in groups else "protocol."
            raise errors.ConfigError(
                f"config.{prefix}{place}: must not be set for the kind "
                f"{protocol.kind!r}, which does not use it"
            )


def _check(name: str, field: Field | _Listed, value: Any) -> None:
    try:
        field.check(value)
    except OptionError as error:
        raise errors.ConfigError(f"config.{name}: {error}") from None


def _own_fields(kind: type, config: config_dict.ConfigDict) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in config.items() if name in names}
