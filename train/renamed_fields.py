"""Configuration fields of earlier versions, which work for one minor version more."""

from collections.abc import Callable
import dataclasses
from typing import Any

from ml_collections import config_dict

from clinometer.kernels.options import deprecation
from clinometer.kernels.options import ranges
from clinometer.train import errors


@dataclasses.dataclass(frozen=True)
class _Renamed:
    """A field that has another name now.

    Attributes:
        new: its name, without the leading `config.`.
        kind: type of the old field's values.
        convert: old value -> new value.
        use: what a user writes instead.
        goes_in: the version that refuses the old name.
    """

    new: str
    kind: type
    convert: Callable[[Any], Any]
    use: str
    goes_in: str


FIELDS = {
    "log.tensorboard": _Renamed(
        new="log.trackers",
        kind=bool,
        convert=lambda wanted: "tensorboard" if wanted else "",
        use="config.log.trackers, with tensorboard or nothing",
        goes_in="0.2.0",
    )
}


def rename(config: config_dict.ConfigDict) -> None:
    """Gives the old fields that a configuration file has set their new names.

    Args:
        config: the configuration; changed in place, with a warning per field.

    Raises:
        ConfigError: an old field has a value of another type.
    """
    for old in FIELDS:
        *parents, key = old.split(".")
        node = config
        for parent in parents:
            node = node.get(parent, {})
        if key in node:
            value = node[key]
            with config.unlocked():
                del node[key]
            config.update_from_flattened_dict(dict([renamed(old, value)]))


def renamed(old: str, value: Any) -> tuple[str, Any]:
    """Returns the new name and value of an old field, with a warning.

    Args:
        old: one of `FIELDS`.
        value: its value.

    Raises:
        ConfigError: the value is of another type.
    """
    field = FIELDS[old]
    if not isinstance(value, field.kind):
        raise errors.ConfigError(
            f"config.{old}: got {ranges.shown(str(value))}, accepted: "
            f"{field.kind.__name__}; the field is deprecated, use {field.use}"
        )
    deprecation.warn(f"config.{old}", field.use, goes_in=field.goes_in, stacklevel=3)
    return field.new, field.convert(value)
