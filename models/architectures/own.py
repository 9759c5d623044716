"""Loads users' own architectures from the files listed in an environment variable.

An environment variable applies to every command, to the runs that a study starts and to
`import clinometer.models` in a notebook alike.
"""

from collections.abc import Collection
from collections.abc import MutableMapping
import importlib.util
import os
import pathlib
import re
import sys

from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.models.architectures import architecture as architecture_lib
from clinometer.models.architectures import sizes

VARIABLE = "CLINOMETER_ARCHITECTURES"
_ATTRIBUTE = "ARCHITECTURE"


def load(
    known: MutableMapping[str, architecture_lib.Architecture],
    taken: Collection[str] = (),
) -> None:
    """Adds the `ARCHITECTURE` of each listed file, under the file's name.

    The variable holds paths separated as in PATH. They are made absolute for the
    processes that this one starts. Exceptions raised by a file itself propagate.

    Args:
        known: the architectures by name; modified in place.
        taken: names of architectures of another kind.

    Raises:
        OptionError: a file does not exist, has an unsuitable name or does not define
            an architecture.
    """
    paths = [
        pathlib.Path(os.path.abspath(text))
        for text in os.environ.get(VARIABLE, "").split(os.pathsep)
        if text
    ]
    for path in paths:
        name = path.stem
        if not os.path.isfile(path) or path.suffix != ".py":
            raise OptionError(
                f"{VARIABLE}: {ranges.shown(str(path), most=4096)} is not a Python file"
            )
        try:
            check_name(name, (*known, *taken))
        except OptionError as error:
            raise OptionError(
                f"{VARIABLE}: {path}: architectures are named after their file: {error}"
            ) from None
        known[name] = _read(path)
    if paths:
        os.environ[VARIABLE] = os.pathsep.join(map(str, paths))


def check_name(name: str, known: Collection[str]) -> None:
    """Checks the name of a new architecture.

    Args:
        name: the name.
        known: the names that are taken.

    Raises:
        OptionError: the name is unsuitable or taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*", name) or name in sizes.NAMES:
        raise OptionError(
            f"{ranges.shown(name)} is not accepted as the name of an architecture; use "
            "lowercase letters and digits, starting with a letter, and not the name of "
            "a size"
        )
    if name in known:
        raise OptionError(
            f"an architecture {name!r} already exists; choose another name"
        )


def _read(path: pathlib.Path) -> architecture_lib.Architecture:
    module_name = f"clinometer_architecture_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # For its dataclasses.
    spec.loader.exec_module(module)
    found = getattr(module, _ATTRIBUTE, None)
    if not isinstance(found, architecture_lib.Architecture):
        raise OptionError(
            f"{VARIABLE}: {path}: does not define {_ATTRIBUTE} = "
            "architecture.Architecture(...); see models/README.md"
        )
    return found
