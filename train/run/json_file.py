"""Reads and writes the JSON files of a run, atomically and without NaN and infinity.

NaN and infinity are not valid JSON. They are written as null, and the enclosing object
gets a field `not_finite` with the original values, e.g. {"score": null, "not_finite":
{"score": "nan"}}.
"""

from collections.abc import Mapping
import json
import math
from typing import Any

from clinometer.data import paths

NOT_FINITE = "not_finite"


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Serialises a value as JSON, with null for NaN and infinity.

    Args:
        value: nested dicts, lists, tuples and scalars.
        indent: number of spaces per level; None for a single line.
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def write(path: paths.PathLike, value: Any) -> None:
    """Writes a value to a file atomically.

    Args:
        path: path of the file.
        value: see `dumps`.
    """
    paths.write_text(path, dumps(value, indent=1) + "\n")


def loads(text: str | bytes, *, strict: bool = True) -> Any:
    """Parses JSON.

    Args:
        text: the text; bytes are decoded as UTF-8.
        strict: whether to reject NaN and infinity; otherwise they become None.

    Raises:
        ValueError: the text is not UTF-8, is not JSON, is nested too deeply, or holds
            NaN or infinity.
    """

    def constant(name: str) -> None:
        if strict:
            raise ValueError(f"{name} is not a JSON number")

    def decimal(digits: str) -> float | None:
        number = float(digits)
        return number if math.isfinite(number) else constant(digits)

    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        return json.loads(text, parse_constant=constant, parse_float=decimal)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def loads_object(text: str | bytes, *, strict: bool = True) -> dict[str, Any]:
    """Parses a JSON object.

    Args:
        text: see `loads`.
        strict: see `loads`.

    Raises:
        ValueError: see `loads`; or the value is not an object.
    """
    value = loads(text, strict=strict)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def read_object(path: paths.PathLike, *, strict: bool = True) -> dict[str, Any]:
    """Reads a JSON object from a file.

    Args:
        path: path of the file.
        strict: see `loads`.

    Raises:
        OSError: the file cannot be read.
        ValueError: see `loads_object`.
    """
    return loads_object(paths.read_bytes(path), strict=strict)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        made = {key: _finite(part) for key, part in value.items()}
        lost = {
            str(key): str(float(part))
            for key, part in value.items()
            if isinstance(part, float) and not math.isfinite(part)
        }
        return made | {NOT_FINITE: lost} if lost else made
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
