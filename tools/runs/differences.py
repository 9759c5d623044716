"""In which fields the configurations of runs differ."""

from collections.abc import Mapping
from collections.abc import Sequence
import json
from typing import Any

# Where things are, which says nothing about a run.
_PLACES = ("data.store", "data.folder", "initial.run", "compilation_cache")
_MISSING = None


def differing(
    configs: Sequence[Mapping[str, Any]],
) -> dict[str, tuple[Any, ...]]:
    """Returns field -> its value in each configuration, of the fields that differ.

    Args:
        configs: flat configurations; what one lacks counts as None.
    """
    names = sorted({name for config in configs for name in config} - {*_PLACES})
    values = {
        name: tuple(config.get(name, _MISSING) for config in configs) for name in names
    }
    return {name: each for name, each in values.items() if len(_groups(each)) > 1}


def grouped(fields: Mapping[str, tuple[Any, ...]]) -> dict[str, list[str]]:
    """Returns which fields say the same about the runs: one -> the others.

    Fields say the same if they differ between the same runs. The field with the
    shortest name stands for the others.

    Args:
        fields: as from `differing`.
    """
    by_groups: dict[tuple[int, ...], list[str]] = {}
    for name in sorted(fields, key=lambda name: (len(name), name)):
        by_groups.setdefault(_numbered(fields[name]), []).append(name)
    return {names[0]: names[1:] for names in by_groups.values()}


def _groups(values: Sequence[Any]) -> set[str]:
    return set(map(_text, values))


def _numbered(values: Sequence[Any]) -> tuple[int, ...]:
    """Returns the values as numbers, in order of their first occurrence."""
    numbers: dict[str, int] = {}
    return tuple(numbers.setdefault(_text(value), len(numbers)) for value in values)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
