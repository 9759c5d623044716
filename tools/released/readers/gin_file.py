"""Reads the `operative_config.gin` of a Mesh-TensorFlow model with gin's own parser.

Nothing that the file names is imported or called: a reference such as `@SelfAttention`
is a string here.
"""

import importlib
import pathlib
import tokenize
from typing import Any

from clinometer.tools.released import errors
from clinometer.tools.released.readers import small_file
from clinometer.tools.released.readers import tensorflow_file

_MOST_BYTES = 1_000_000


def read(path: pathlib.Path) -> dict[str, Any]:
    """Returns the values of a file by `[SCOPE/]CONFIGURABLE.ARGUMENT`.

    A configurable has no module before its name, and a macro is replaced by its value.

    Args:
        path: the file.

    Raises:
        ReleaseError: gin is not installed, or the file is missing or damaged.
    """
    found = small_file.read(path, _MOST_BYTES)
    try:
        parser = importlib.import_module("gin.config_parser")
    except ModuleNotFoundError as error:
        raise errors.ReleaseError(
            f"{path}: {tensorflow_file.needs('gin-config')}"
        ) from error
    try:
        text = found.decode("utf-8")
        statements = list(parser.ConfigParser(text, _delegate(parser)))
    except (SyntaxError, ValueError, RecursionError, tokenize.TokenError) as error:
        reason = str(error).partition("\n")[0]
        raise errors.ReleaseError(f"{path}: not a gin file: {reason}") from error
    values, macros = {}, {}
    for statement in statements:
        if not isinstance(statement, parser.BindingStatement):
            continue  # An import.
        configurable = statement.selector.rpartition(".")[2]
        if not statement.arg_name:  # `d_ff = 2048`
            macros[configurable] = statement.value
        elif configurable == "macro":  # `d_ff/macro.value = 2048`
            macros[statement.scope] = statement.value
        else:
            scope = f"{statement.scope}/" if statement.scope else ""
            values[f"{scope}{configurable}.{statement.arg_name}"] = statement.value
    problems: list[str] = []
    found = {
        name: _resolved(value, macros, name, problems) for name, value in values.items()
    }
    if problems:
        raise errors.of_problems(f"{path}: cannot be read", problems)
    return found


class _Macro(str):
    """The name of a macro, which stands for its value."""


def _delegate(parser: Any) -> Any:
    class Delegate(parser.ParserDelegate):
        def configurable_reference(self, name: str, evaluate: bool) -> str:
            return f"@{name}()" if evaluate else f"@{name}"

        def macro(self, name: str) -> str:
            return _Macro(name)

    return Delegate()


def _resolved(
    value: Any, macros: dict[str, Any], name: str, problems: list[str]
) -> Any:
    """Returns a value as JSON has it, with the values of macros."""
    if isinstance(value, _Macro):
        # The value of a macro may be one, too.
        for _ in range(len(macros)):
            if not isinstance(value, _Macro) or value not in macros:
                break
            value = macros[value]
        if isinstance(value, _Macro):
            problems.append(f"{name}: the macro %{value} has no value")
            return None
    if isinstance(value, dict):
        return {
            str(key): _resolved(each, macros, name, problems)
            for key, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_resolved(each, macros, name, problems) for each in value]
    return value
