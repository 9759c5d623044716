"""Parses JSON objects strictly."""

import collections
import json
from typing import Any


def parse_object(text: bytes) -> dict[str, Any]:
    """Parses a JSON object, in which no key may occur twice.

    Raises:
        ValueError: it is not one; says what is wrong.
    """
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_without_repeats)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}; accepted: an object")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        times = collections.Counter(name for name, _ in pairs)
        repeated = sorted(name for name, count in times.items() if count > 1)
        raise ValueError(f"more than once: {', '.join(map(repr, repeated))}")
    return made
