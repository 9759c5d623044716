"""Reads TensorFlow checkpoints: `model.ckpt-STEP.index` with the files of its data."""

import functools
import importlib
import os
import pathlib
import re
from typing import Any

import numpy as np

from clinometer.tools.released import errors
from clinometer.tools.released.readers import tensor

EXTRA = "mesh-tf"  # The extra of pyproject.toml.
INDEX = ".index"
_INDEX_NAME = re.compile(r"(?P<prefix>.+-(?P<step>\d+))\.index")
_DATA_NAME = re.compile(r".+\.data-(?P<part>\d{5})-of-(?P<parts>\d{5})")


def needs(package: str) -> str:
    """Returns what to install, as a user is told."""
    return (
        f"needs {package}, in an environment of its own: `make setup-mesh-tf` and then "
        f".venv-mesh-tf/bin/clinometer, or pip install 'clinometer[{EXTRA}]'"
    )


def steps(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """Returns the index files of a folder's checkpoints by step, ascending.

    Raises:
        ReleaseError: two checkpoints have the same step.
    """
    found: dict[int, pathlib.Path] = {}
    for path in sorted(folder.glob(f"*{INDEX}")):
        if not (match := _INDEX_NAME.fullmatch(path.name)):
            continue
        step = int(match["step"])
        if step in found:
            raise errors.ReleaseError(
                f"{folder}: has {found[step].name} and {path.name} of the same step; "
                "give one of them"
            )
        found[step] = path
    return dict(sorted(found.items()))


def step_of(index: pathlib.Path) -> int:
    """Returns the step that the name of an index file has.

    Raises:
        ReleaseError: it has none.
    """
    if match := _INDEX_NAME.fullmatch(index.name):
        return int(match["step"])
    raise errors.ReleaseError(
        f"{index}: has no step in its name; accepted: model.ckpt-STEP{INDEX}"
    )


def files(index: pathlib.Path) -> list[pathlib.Path]:
    """Returns the index file of a checkpoint and the files of its data.

    Raises:
        ReleaseError: some are missing.
    """
    stem = index.name.removesuffix(INDEX)
    parts: dict[int, pathlib.Path] = {}
    wanted = 0
    for path in sorted(index.parent.glob(f"{stem}.data-*")):
        if match := _DATA_NAME.fullmatch(path.name):
            parts[int(match["part"])] = path
            wanted = max(wanted, int(match["parts"]))
    missing = [
        f"{stem}.data-{part:05}-of-{wanted:05}"
        for part in range(wanted)
        if part not in parts
    ] or ([] if parts else [f"{stem}.data-*"])
    if missing:
        raise errors.ReleaseError(
            f"{index.parent}: has {index.name}, but not {', '.join(missing)}"
        )
    return [index, *parts.values()]


def read(index: pathlib.Path) -> dict[str, tensor.Tensor]:
    """Returns the variables of a checkpoint by name.

    Integers, such as the number of steps, are left out.

    Raises:
        ReleaseError: TensorFlow is not installed, or the checkpoint is damaged.
    """
    # Else TensorFlow tells about its build on standard error.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        tensorflow = importlib.import_module("tensorflow")
    except ModuleNotFoundError as error:
        raise errors.ReleaseError(f"{index}: {needs('TensorFlow')}") from error
    try:
        reader = tensorflow.train.load_checkpoint(str(index).removesuffix(INDEX))
        shapes = reader.get_variable_to_shape_map()
        dtypes = reader.get_variable_to_dtype_map()
    except _errors(tensorflow) as error:
        raise _damaged(index, error) from error
    problems, tensors = [], {}
    for name, shape in sorted(shapes.items()):
        dtype = dtypes[name].name
        if dtype.startswith(("int", "uint")):
            continue
        if dtype not in tensor.DTYPES:
            accepted = ", ".join(tensor.DTYPES)
            problems.append(f"variable {name!r}: {dtype}; accepted: {accepted}")
            continue
        values = functools.partial(_values, tensorflow, reader, index, name)
        tensors[name] = tensor.Tensor(tuple(shape), dtype, values)
    if problems:
        raise errors.of_problems(f"{index}: cannot be read", problems)
    return tensors


def _values(tensorflow: Any, reader: Any, index: pathlib.Path, name: str) -> np.ndarray:
    try:
        return reader.get_tensor(name)
    except _errors(tensorflow) as error:
        raise _damaged(index, error, f"variable {name!r}: ") from error


def _errors(tensorflow: Any) -> tuple[type[Exception], ...]:
    # The reader of checkpoints turns some of TensorFlow's errors into Python's.
    return (tensorflow.errors.OpError, RuntimeError, ValueError, IndexError)


def _damaged(
    index: pathlib.Path, error: Exception, what: str = ""
) -> errors.ReleaseError:
    reason = str(error).strip().partition("\n")[0][:300]
    return errors.ReleaseError(f"{index}: {what}cannot be read: {reason}")
