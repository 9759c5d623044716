"""Commands and environments to run this Python in a child process.

A child imports the same modules as its parent: it inherits the parent's path, but not
the working directory, where a user's `random.py` would hide Python's own.
"""

from collections.abc import Mapping
import importlib.util
import os
import pathlib
import sys

# These would stop a child because of a library's warning, keep it running at its end
# (with exit code 0, whatever happened), or flood its log.
_DROPPED = (
    "PYTHONINSPECT",
    "PYTHONPROFILEIMPORTTIME",
    "PYTHONSTARTUP",
    "PYTHONVERBOSE",
    "PYTHONWARNINGS",
)


def command(*arguments: str) -> tuple[str, ...]:
    """Returns the command that runs Python with arguments, such as `-m NAME`."""
    return (sys.executable, "-P", *arguments)


def module(name: str, *arguments: str) -> tuple[str, ...]:
    """Returns the command that runs one of our modules as a program."""
    return command("-m", name, *arguments)


def script(file: str, *arguments: str) -> tuple[str, ...]:
    """Returns the command that runs one of our files as a program."""
    return command(file, *arguments)


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment for a child process.

    Args:
        base: the environment to start from.
    """
    kept = {name: value for name, value in base.items() if name not in _DROPPED}
    return kept | {
        "PYTHONPATH": os.pathsep.join(_path()),
        "PYTHONSAFEPATH": "1",  # for its own children
        "PYTHONIOENCODING": "utf-8",
    }


def _path() -> list[str]:
    """Returns sys.path without the entry that Python prepends for `-m` or `-c`."""
    path = [entry for entry in sys.path if entry]
    here = os.getcwd()
    if path and path[0] == here and not sys.flags.safe_path and not _holds_us(here):
        del path[0]
    return [os.path.abspath(entry) for entry in path]


def _holds_us(folder: str) -> bool:
    spec = importlib.util.find_spec("clinometer")
    return pathlib.Path(spec.origin).parent.parent == pathlib.Path(folder)
