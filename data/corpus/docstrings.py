"""Extracts docstrings from the installed Python packages as a corpus of English."""

import ast
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import gc
import hashlib
from importlib import metadata
import os
import sysconfig
import warnings

from clinometer.data.errors import DataError

# Distributions that the package depends on for more than its figures. Tuned rates were
# measured on the text of these: a change of the list or of a version changes the text.
DISTRIBUTIONS = (
    "absl-py",
    "array_record",
    "dm-haiku",
    "etils",
    "fsspec",
    "grain",
    "jax",
    "jaxlib",
    "ml_collections",
    "numpy",
    "opt_einsum",
    "optax",
    "orbax-checkpoint",
    "packaging",
    "protobuf",
    "scipy",
    "tensorboardX",
    "zstandard",
)
MIN_CHARACTERS = 100
# Skipped folders: tests contain little English; the others are missing from some Python
# installations (Debian's, for example) or contain no source code of the package.
_LEFT_OUT = frozenset(
    {
        "__pycache__",
        "dist-packages",
        "distutils",
        "ensurepip",
        "idlelib",
        "lib-dynload",
        "lib2to3",
        "site-packages",
        "test",
        "tests",
        "tkinter",
        "turtledemo",
    }
)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def versions() -> dict[str, str]:
    """Returns the installed version of each of `DISTRIBUTIONS`.

    Raises:
        DataError: a distribution is not installed.
    """
    found = {}
    for name in DISTRIBUTIONS:
        found[name] = _distribution(name).version
    return found


def source_paths() -> list[str]:
    """Returns the Python files of the standard library, then of each distribution.

    Raises:
        DataError: a distribution is not installed.
    """
    paths = list(_standard_library())
    for name in DISTRIBUTIONS:
        files = _distribution(name).files or ()
        paths += [
            str(file.locate())
            for file in sorted(files, key=str)
            if file.suffix == ".py" and _LEFT_OUT.isdisjoint(file.parts)
        ]
    return paths


def extract(
    paths: Iterable[str], on_file: Callable[[int, int], None] = lambda n, found: None
) -> list[str]:
    """Returns the distinct docstrings of modules, classes and functions.

    Docstrings are dedented; those shorter than `MIN_CHARACTERS` are skipped. They are
    sorted by SHA-256, a reproducible order that mixes the packages, so that any part
    of the corpus is representative of the whole.

    Args:
        paths: Python files; those that do not parse are skipped.
        on_file: called after each file with the number of files read and of docstrings
            found so far.
    """
    found: dict[bytes, str] = {}
    with warnings.catch_warnings(), _no_garbage_collection():
        warnings.simplefilter("ignore")  # about invalid escape sequences
        for number, path in enumerate(paths, start=1):
            for text in _docstrings(path):
                data = text.encode("utf-8", errors="ignore")
                found.setdefault(hashlib.sha256(data).digest(), data.decode("utf-8"))
            on_file(number, len(found))
    return [found[key] for key in sorted(found)]


def _docstrings(path: str) -> Iterator[str]:
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return  # a template, or source code for another Python version
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED):
            text = ast.get_docstring(node, clean=True)
            if text and len(text) >= MIN_CHARACTERS:
                yield text


def _standard_library() -> Iterator[str]:
    root = sysconfig.get_path("stdlib")
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _LEFT_OUT and not name.startswith("config-")
        )
        for name in sorted(names):
            if name.endswith(".py"):
                yield os.path.join(folder, name)


def _distribution(name: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise DataError(
            f"The embedded corpus needs the package {name!r}, which is not installed. "
            'Install it with: pip install "clinometer[train]".'
        ) from error


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Disables garbage collection, which doubles the time of parsing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
