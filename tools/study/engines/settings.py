"""What a study's configuration says about its executor: `config.executor`."""

from collections.abc import Mapping
import dataclasses
import re
from typing import Any

from ml_collections import config_dict

from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.train import errors
from clinometer.train.field import Field

LOCAL, RAY, SLURM = NAMES = ("local", "ray", "slurm")
AUTO = "auto"  # The address of the cluster that this machine belongs to.
_ADDRESS = re.compile(r"[^:\s]+:\d{1,5}")
_OPTIONS = "slurm.options."
_RESOURCES = "ray.resources."
_AMOUNT = Field("", ranges.Real(without_least=True))
# Fields whose own fields have any names.
OPEN = (_OPTIONS, _RESOURCES)
FIELDS = {
    "name": Field("", NAMES),
    "cpus": Field("", ranges.Whole(1)),
    "gpus": Field("", ranges.Whole()),
    "hosts": Field("", ranges.Whole(1)),
    "ray.address": Field("", str),
    "slurm.partition": Field("", str, optional=True),
    "slurm.minutes": Field("", ranges.Whole(1)),
    "slurm.save_seconds": Field("", ranges.Whole(1)),
}


@dataclasses.dataclass(frozen=True)
class EngineSettings:
    """Which executor a study has, and what a run gets from it.

    Attributes:
        name: one of `NAMES`.
        cpus: cores of a run, on each of its hosts.
        gpus: GPUs of a run, on each of its hosts.
        hosts: number of hosts of a run.
        ray_address: HOST:PORT of the Ray cluster, or `AUTO`.
        ray_resources: name -> amount, of further resources of a run.
        slurm_partition: the partition; None for the cluster's default.
        slurm_minutes: limit of a job's time, after which it is queued again.
        slurm_save_seconds: how long before this limit a run is asked to save.
        slurm_options: name -> value, of further options of `sbatch`.
    """

    name: str = LOCAL
    cpus: int = 1
    gpus: int = 0
    hosts: int = 1
    ray_address: str = AUTO
    ray_resources: Mapping[str, float] = dataclasses.field(default_factory=dict)
    slurm_partition: str | None = None
    slurm_minutes: int = 60
    slurm_save_seconds: int = 120
    slurm_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def default() -> config_dict.ConfigDict:
    """Returns the default of `config.executor`."""
    usual = EngineSettings()
    config = config_dict.ConfigDict()
    config.name = usual.name  # "local", "ray" or "slurm".
    config.cpus = usual.cpus  # Of a run, on each of its hosts; its threads.
    config.gpus = usual.gpus
    config.hosts = usual.hosts  # More than one only in Slurm.
    config.ray = config_dict.ConfigDict()
    config.ray.address = usual.ray_address
    config.ray.resources = config_dict.ConfigDict()  # Of a run: name -> amount.
    config.slurm = config_dict.ConfigDict()
    config.slurm.partition = config_dict.placeholder(str)
    config.slurm.minutes = usual.slurm_minutes  # Then the job is queued again.
    config.slurm.save_seconds = usual.slurm_save_seconds  # Before that, to save.
    config.slurm.options = config_dict.ConfigDict()  # Of sbatch: name -> value.
    return config


def read(config: config_dict.ConfigDict) -> EngineSettings:
    """Returns the settings of `config.executor`, whose fields have been checked.

    Raises:
        ConfigError: fields exclude each other, or a further option or resource has an
            impossible value; the message names them.
    """
    settings = EngineSettings(
        name=config.name,
        cpus=config.cpus,
        gpus=config.gpus,
        hosts=config.hosts,
        ray_address=config.ray.address,
        ray_resources=dict(config.ray.resources),
        slurm_partition=config.slurm.partition,
        slurm_minutes=config.slurm.minutes,
        slurm_save_seconds=config.slurm.save_seconds,
        slurm_options=dict(config.slurm.options),
    )
    address = settings.ray_address
    if address != AUTO and not _ADDRESS.fullmatch(address):
        raise _refused(
            "ray.address",
            f"got {ranges.shown(address)}, accepted: HOST:PORT, or auto for the "
            "cluster that this machine belongs to",
        )
    for name, amount in settings.ray_resources.items():
        try:
            _AMOUNT.check(amount)
        except OptionError as error:
            raise _refused(f"{_RESOURCES}{name}", str(error)) from None
    for name, value in settings.slurm_options.items():
        if not isinstance(value, str | int):
            raise _refused(
                f"{_OPTIONS}{name}",
                f"got {ranges.shown(value)}, accepted: a string, a number or true",
            )
    if settings.slurm_save_seconds >= 60 * settings.slurm_minutes:
        raise _refused(
            "slurm.save_seconds",
            f"got {settings.slurm_save_seconds}, accepted: less than the "
            f"{settings.slurm_minutes} minutes of executor.slurm.minutes",
        )
    if settings.name == LOCAL:
        for field, only in (("cpus", 1), ("gpus", 0)):
            if getattr(settings, field) != only:
                raise _refused(
                    field,
                    f"got {getattr(settings, field)}; only for ray and slurm, since a "
                    "run of the local executor has one core, and the GPUs it sees",
                )
    if settings.hosts > 1 and settings.name != SLURM:
        raise _refused(
            "hosts",
            f"got {settings.hosts}; a run that spans hosts needs --executor slurm",
        )
    return settings


def _refused(field: str, text: str) -> errors.ConfigError:
    return errors.ConfigError(f"config.executor.{field}: {text}")
