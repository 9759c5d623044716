"""Loads the configuration of a run from a Python file and command-line overrides.

`FILE.py:ARGUMENT` gives the file (relative to the working directory or to the installed
package) and the argument of its function `get_config`. `--config.KEY=VALUE`, or
`--config.KEY VALUE`, overrides a field. No device is used.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import importlib.util
import inspect
import os
import pathlib
from typing import Any

from ml_collections import config_dict

from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import did_you_mean
from clinometer.train import errors
from clinometer.train import renamed_fields

_PACKAGE = pathlib.Path(__file__).resolve().parent.parent
_PREFIX = "--config."


def load(
    specification: str, overrides: Sequence[str] = ()
) -> config_dict.FrozenConfigDict:
    """Loads the configuration of a run.

    Args:
        specification: e.g. "train/configs/pretrain.py:transformer-small".
        overrides: e.g. ["--config.data.batch_size=16"].

    Returns:
        The configuration with the overrides applied.

    Raises:
        ConfigError: the file, a field or a value is wrong; the message says what is
            accepted.
    """
    config = _call_file(specification)
    renamed_fields.rename(config)
    return overridden(config, overrides)


def overridden(
    config: config_dict.ConfigDict, overrides: Sequence[str]
) -> config_dict.FrozenConfigDict:
    """Applies overrides to a configuration.

    Args:
        config: the configuration; changed in place.
        overrides: e.g. ["--config.data.batch_size=16"].

    Returns:
        The configuration, frozen.

    Raises:
        ConfigError: a field or a value is wrong; the message says what is accepted.
    """
    for path, text in _pairs(overrides):
        if path in renamed_fields.FIELDS:
            new = renamed_fields.renamed(path, ranges.literal(text))
            config.update_from_flattened_dict(dict([new]))
        else:
            _apply(config, path, text)
    return config_dict.FrozenConfigDict(config)


def to_dict(config: config_dict.ConfigDict) -> dict[str, Any]:
    """Returns the configuration as nested dicts, ready for JSON."""
    return {
        key: to_dict(value) if isinstance(value, config_dict.ConfigDict) else value
        for key, value in config.items()
    }


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested dicts to one dict with dotted keys.

    Args:
        tree: nested dicts, e.g. {"data": {"batch_size": 128}}.
        prefix: prepended to every key.

    Returns:
        The flat dict, e.g. {"data.batch_size": 128}.
    """
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _call_file(specification: str) -> config_dict.ConfigDict:
    name, _, argument = specification.partition(":")
    candidates = [pathlib.Path(name), _PACKAGE / name]
    path = next(filter(os.path.isfile, candidates), None)
    if path is None:
        raise errors.ConfigError(
            f"--config: no file {ranges.shown(name)} in the working directory or in "
            f"{_PACKAGE}; accepted: FILE.py:MODEL, e.g. "
            "train/configs/pretrain.py:transformer-small"
        )
    module_spec = importlib.util.spec_from_file_location("clinometer_config", path)
    if module_spec is None or path.suffix != ".py":
        raise errors.ConfigError(f"--config: {name} is not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise errors.ConfigError(f"--config: {name} has no function get_config")
    if argument and not inspect.signature(module.get_config).parameters:
        raise errors.ConfigError(
            f"--config: get_config in {name} takes no argument, got {argument!r}"
        )
    config = module.get_config(argument) if argument else module.get_config()
    _refuse_lists(config)
    return config


def _refuse_lists(config: config_dict.ConfigDict) -> None:
    for key, value in flatten(to_dict(config)).items():
        if isinstance(value, list):
            raise errors.ConfigError(
                f"config.{key}: must not be a list; use a tuple, which is immutable"
            )


def _pairs(overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields (KEY, VALUE) for each `--config.KEY=VALUE` or `--config.KEY VALUE`."""
    rest = iter(overrides)
    for override in rest:
        if not override.startswith(_PREFIX):
            raise errors.ConfigError(
                f"unknown argument {ranges.shown(override)}; configuration fields are "
                "set by --config.KEY=VALUE, e.g. --config.data.batch_size=16"
            )
        path, equals, text = override[len(_PREFIX) :].partition("=")
        if not equals:
            text = next(rest, "--")
            if text.startswith("--"):
                raise errors.ConfigError(
                    f"config.{path}: no value given; use {override}=VALUE"
                )
        yield path, text


def _apply(config: config_dict.ConfigDict, path: str, text: str) -> None:
    *parents, key = path.split(".")
    node = config
    for depth, parent in enumerate(parents):
        known = [
            name for name in node if isinstance(node[name], config_dict.ConfigDict)
        ]
        if parent not in known:
            if parent in node:
                raise errors.ConfigError(
                    f"config.{path}: {'.'.join(parents[: depth + 1])} is a single "
                    "value and has no fields"
                )
            raise errors.ConfigError(_unknown(path, parent, known, config))
        node = node[parent]
    if key not in node and parents != ["model"]:
        raise errors.ConfigError(_unknown(path, key, list(node), config))
    if key in node and isinstance(node[key], config_dict.ConfigDict):
        raise errors.ConfigError(
            f"config.{path}: is a group of fields; set one of them: "
            f"{', '.join(node[key])}"
        )
    if key in node:
        node[key] = _parse(path, text, node.get_type(key), node[key])
    else:  # A field of the model's config, which `models.build` checks.
        node[key] = ranges.literal(text)


def _unknown(
    path: str, name: str, known: list[str], config: config_dict.ConfigDict
) -> str:
    hint = did_you_mean(name, known) or did_you_mean(path, flatten(to_dict(config)))
    return f"config.{path}: unknown key {name!r}{hint}; accepted: {', '.join(known)}"


def _parse(path: str, text: str, kind: type, default: Any) -> Any:
    """Parses `text` as a value of type `kind`; raises ConfigError if it is not one."""
    if kind is str:
        return text
    value = ranges.literal(text)
    if text.lower() == "none" and default is None:
        return None
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    if type(value) is not kind:
        accepted = {
            int: "a whole number such as 1_000 or 1e3",
            float: "a number such as 0.1 or 1e-4",
            bool: "true or false",
            tuple: "a tuple such as (1, 2)",
        }
        raise errors.ConfigError(
            f"config.{path}: got {ranges.shown(text)}, accepted: "
            f"{accepted.get(kind, kind.__name__)}"
        )
    return value
