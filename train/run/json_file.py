"""JSON files that a run leaves: whole or not there, and free of NaN and infinity.

JSON has no numbers that are not finite. Such a one is written as null, and the object
that holds it says so in a field `not_finite`, e.g. {"score": null, "not_finite":
{"score": "nan"}}.
"""

from collections.abc import Mapping
import json
import math
import os
import pathlib
from typing import Any

from clinometer.kernels.options import outputs

NOT_FINITE = "not_finite"


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Returns the text of a value, numbers that are not finite as null with a reason.

    Args:
        value: of what JSON knows.
        indent: blanks a level; None for one line.
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def write(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a file by rename, so that a reader sees a whole one at any moment."""
    outputs.write_text(path, dumps(value, indent=1) + "\n")


def loads(text: str | bytes, *, strict: bool = True) -> Any:
    """Returns the value of a text.

    Args:
        text: in UTF-8, if it is bytes.
        strict: refuse numbers that are not finite; else they are None.

    Raises:
        ValueError: not UTF-8, not JSON, nested too deep, or a number that is not
            finite.
    """

    def constant(name: str) -> None:
        if strict:
            raise ValueError(f"{name} is no number of JSON")

    def decimal(digits: str) -> float | None:
        number = float(digits)
        return number if math.isfinite(number) else constant(digits)

    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        return json.loads(text, parse_constant=constant, parse_float=decimal)
    except RecursionError:
        raise ValueError("nested too deep") from None


def loads_object(text: str | bytes, *, strict: bool = True) -> dict[str, Any]:
    """Returns the object that a text is; raises as `loads`, and where it is none."""
    value = loads(text, strict=strict)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def read_object(path: str | os.PathLike[str], *, strict: bool = True) -> dict[str, Any]:
    """Returns the object that a file holds.

    Raises:
        OSError: it cannot be opened.
        ValueError: as `loads_object`.
    """
    return loads_object(pathlib.Path(path).read_bytes(), strict=strict)


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
