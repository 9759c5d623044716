"""Reads tensors that are divided over several files by an index.

The index is a JSON object whose `weight_map` gives the file of each tensor, such as
`model.safetensors.index.json`.
"""

from collections.abc import Callable
import pathlib

from clinometer.tools.released import errors
from clinometer.tools.released.readers import json_text
from clinometer.tools.released.readers import small_file
from clinometer.tools.released.readers import tensor

ENDING = ".index.json"
_MAP = "weight_map"
_MOST_BYTES = 100_000_000


def files(index: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files that an index names.

    Raises:
        ReleaseError: the index cannot be read or names a file that is not there.
    """
    names = sorted(set(_weight_map(index).values()))
    missing = [
        f"there is no file {name}"
        for name in names
        if not (index.parent / name).is_file()
    ]
    if missing:
        raise errors.of_problems(f"{index}: incomplete", missing)
    return [index.parent / name for name in names]


def read(
    index: pathlib.Path,
    read_file: Callable[[pathlib.Path], dict[str, tensor.Tensor]],
) -> dict[str, tensor.Tensor]:
    """Returns the tensors of all files of an index, by name.

    Args:
        index: the index.
        read_file: reads one of its files.

    Raises:
        ReleaseError: as `files`, or a file cannot be read, or the files do not hold
            the tensors of the index, each once; lists all that differ.
    """
    weight_map, tensors, problems = _weight_map(index), {}, []
    for path in files(index):
        for name, found in read_file(path).items():
            if name in tensors:
                problems.append(f"tensor {name!r} is in several files")
            elif weight_map.get(name) != path.name:
                place = weight_map.get(name, "no file")
                problems.append(
                    f"tensor {name!r} is in {path.name}; expected in {place}"
                )
            tensors[name] = found
    for name in weight_map.keys() - tensors.keys():
        problems.append(f"tensor {name!r} is missing in {weight_map[name]}")
    if problems:
        raise errors.of_problems(f"{index}: does not match its files", sorted(problems))
    return tensors


def _weight_map(index: pathlib.Path) -> dict[str, str]:
    contents = small_file.read(index, _MOST_BYTES)
    try:
        weight_map = json_text.parse_object(contents).get(_MAP)
    except ValueError as error:
        raise errors.ReleaseError(f"{index}: {error}") from error
    if not isinstance(weight_map, dict) or not weight_map:
        raise errors.ReleaseError(f"{index}: has no {_MAP}; accepted: an object")
    for name, file in weight_map.items():
        if not isinstance(file, str) or file != pathlib.PurePath(file).name:
            raise errors.ReleaseError(
                f"{index}: {_MAP}.{name} is {file!r}; accepted: the name of a file "
                "beside the index"
            )
    return weight_map
