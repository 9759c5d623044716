"""Starts this Python once more, free of the caller's working directory and settings.

A child imports what its parent imports: the parent's path is handed on, without the
working directory, where a `random.py` of the user's would hide Python's own.
"""

from collections.abc import Mapping
import importlib.util
import os
import pathlib
import sys

# They would end a child for a library's warning, keep it open at its end (with exit
# code 0, whatever happened), or fill its log.
_DROPPED = (
    "PYTHONINSPECT",
    "PYTHONPROFILEIMPORTTIME",
    "PYTHONSTARTUP",
    "PYTHONVERBOSE",
    "PYTHONWARNINGS",
)


def module(name: str, *arguments: str) -> tuple[str, ...]:
    """Returns the command that runs a module of ours as a program."""
    return (sys.executable, "-P", "-m", name, *arguments)


def script(file: str, *arguments: str) -> tuple[str, ...]:
    """Returns the command that runs a file of ours as a program."""
    return (sys.executable, "-P", file, *arguments)


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a child, from that of this process."""
    kept = {name: value for name, value in base.items() if name not in _DROPPED}
    return kept | {
        "PYTHONPATH": os.pathsep.join(_path()),
        "PYTHONSAFEPATH": "1",  # for its own children
        "PYTHONIOENCODING": "utf-8",
    }


def _path() -> list[str]:
    """This process's path without what Python put in front for `-m` or `-c`."""
    path = [entry for entry in sys.path if entry]
    here = os.getcwd()
    if path and path[0] == here and not sys.flags.safe_path and not _holds_us(here):
        del path[0]
    return [os.path.abspath(entry) for entry in path]


def _holds_us(folder: str) -> bool:
    spec = importlib.util.find_spec("clinometer")
    return pathlib.Path(spec.origin).parent.parent == pathlib.Path(folder)
