"""A user's own architectures: the files that an environment variable names.

An environment variable, so that one setting holds for every command, for the runs that
a study starts, and for `import clinometer.models` in a notebook.
"""

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


def load(known: MutableMapping[str, architecture_lib.Architecture]) -> None:
    """Adds the `ARCHITECTURE` of each file named, under the file's name.

    The variable holds paths, separated as in PATH. It is made absolute for the
    processes that this one starts.

    Args:
        known: the architectures by name, to be added to.

    Raises:
        OptionError: no such file, or what it holds is no architecture. What a file
            raises itself is passed on as it is.
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
                f"{VARIABLE}: {ranges.shown(str(path), most=4096)} is no Python file"
            )
        if not re.fullmatch(r"[a-z][a-z0-9]*", name) or name in sizes.NAMES:
            raise OptionError(
                f"{VARIABLE}: {path}: the file's name is the architecture's, and "
                f"{name!r} cannot be one; accepted are small letters and digits, but "
                "no size's name"
            )
        if name in known:
            raise OptionError(
                f"{VARIABLE}: {path}: there is an architecture {name!r} already; give "
                "the file another name"
            )
        known[name] = _read(path)
    if paths:
        os.environ[VARIABLE] = os.pathsep.join(map(str, paths))


def _read(path: pathlib.Path) -> architecture_lib.Architecture:
    module_name = f"clinometer_architecture_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # For its dataclasses.
    spec.loader.exec_module(module)
    found = getattr(module, _ATTRIBUTE, None)
    if not isinstance(found, architecture_lib.Architecture):
        raise OptionError(
            f"{VARIABLE}: {path}: needs a line {_ATTRIBUTE} = "
            "architecture.Architecture(...), see models/README.md"
        )
    return found
