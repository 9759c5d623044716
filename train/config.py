"""Reads a run's configuration: a file of a plain function, then overrides.

`FILE.py:ARGUMENT` names the file (relative to the working directory or to the
installed package) and the argument of its `get_config`; `--config.key=value`, or
`--config.key value`, changes a field. Nothing here touches a device.
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

_PACKAGE = pathlib.Path(__file__).resolve().parent.parent
_PREFIX = "--config."


def load(
    specification: str, overrides: Sequence[str] = ()
) -> config_dict.FrozenConfigDict:
    """Returns the configuration of a run.

    Args:
        specification: e.g. "train/configs/pretrain.py:transformer-small".
        overrides: e.g. ["--config.data.batch_size=16"].

    Raises:
        RunError: file, field or value is wrong; says what is accepted.
    """
    return overridden(_call_file(specification), overrides)


def overridden(
    config: config_dict.ConfigDict, overrides: Sequence[str]
) -> config_dict.FrozenConfigDict:
    """Returns a configuration with `--config.key=value`s; raises as `load`."""
    for path, text in _pairs(overrides):
        _apply(config, path, text)
    return config_dict.FrozenConfigDict(config)


def to_dict(config: config_dict.ConfigDict) -> dict[str, Any]:
    """Returns the configuration as nested plain dicts, ready for JSON."""
    return {
        key: to_dict(value) if isinstance(value, config_dict.ConfigDict) else value
        for key, value in config.items()
    }


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns {"data.batch_size": 128, ...} of nested dicts."""
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
            f"--config: no file {ranges.shown(name)}, neither here nor in {_PACKAGE}; "
            "give FILE.py:MODEL, e.g. train/configs/pretrain.py:transformer-small"
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
            f"--config: get_config of {name} takes no argument, got {argument!r}"
        )
    config = module.get_config(argument) if argument else module.get_config()
    _refuse_lists(config)
    return config


def _refuse_lists(config: config_dict.ConfigDict) -> None:
    for key, value in flatten(to_dict(config)).items():
        if isinstance(value, list):
            raise errors.ConfigError(
                f"config.{key}: a list; write a tuple, which nobody can change"
            )


def _pairs(overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields fields and values of `--config.KEY=VALUE` and `--config.KEY VALUE`."""
    rest = iter(overrides)
    for override in rest:
        if not override.startswith(_PREFIX):
            raise errors.ConfigError(
                f"unknown argument {ranges.shown(override)}; overrides are "
                "--config.KEY=VALUE, e.g. --config.data.batch_size=16"
            )
        path, equals, text = override[len(_PREFIX) :].partition("=")
        if not equals:
            text = next(rest, "--")
            if text.startswith("--"):
                raise errors.ConfigError(
                    f"config.{path}: no value; write {override}=VALUE"
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
                    f"config.{path}: {'.'.join(parents[: depth + 1])} is a value, it "
                    "has no fields"
                )
            raise errors.ConfigError(_unknown(path, parent, known, config))
        node = node[parent]
    if key not in node and parents != ["model"]:
        raise errors.ConfigError(_unknown(path, key, list(node), config))
    if key in node and isinstance(node[key], config_dict.ConfigDict):
        raise errors.ConfigError(
            f"config.{path}: a group of fields; set one of {', '.join(node[key])}"
        )
    if key in node:
        node[key] = _parse(path, text, node.get_type(key), node[key])
    else:  # A field of the model's config: `models.build` knows names and types.
        node[key] = ranges.literal(text)


def _unknown(
    path: str, name: str, known: list[str], config: config_dict.ConfigDict
) -> str:
    hint = did_you_mean(name, known) or did_you_mean(path, flatten(to_dict(config)))
    return f"config.{path}: unknown key {name!r}{hint}; accepted: {', '.join(known)}"


def _parse(path: str, text: str, kind: type, default: Any) -> Any:
    """Returns `text` as a value of the field's type, or raises ConfigError."""
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
