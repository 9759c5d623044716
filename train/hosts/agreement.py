"""Checks that all processes of a run have the same configuration and the same data."""

from collections.abc import Callable
from collections.abc import Mapping
import hashlib
import json
from typing import Any
from typing import TypeVar

from clinometer.data import errors as data_errors
from clinometer.kernels.options.errors import OptionError
from clinometer.train import errors
from clinometer.train.hosts import group as group_lib

_MOST_NAMED = 5  # Fields in a message.
_Made = TypeVar("_Made")


def prepared(
    group: group_lib.Group,
    make: Callable[[], _Made],
    fields: Callable[[_Made], Mapping[str, Any]],
) -> _Made:
    """Prepares the same work in all processes, or in none.

    Args:
        group: the processes.
        make: prepares it; may refuse the input.
        fields: returns flat fields that must be the same in all processes.

    Returns:
        The value of `make`.

    Raises:
        RunError: a process refused its input, or has other fields than process 0; all
            processes raise an error, and the message names the process and the fields.
    """
    made = refusal = mine = None
    try:
        made = make()
        mine = {name: repr(value) for name, value in fields(made).items()}
        digest = hashlib.sha256(json.dumps(mine, sort_keys=True).encode()).hexdigest()
    except (errors.RunError, data_errors.DataError, OptionError) as error:
        refusal, digest = error, None
    told = group.gather([digest, refusal and str(refusal)])
    if refusal is not None:
        raise refusal
    for index, (_, problem) in enumerate(told):
        if problem is not None:
            raise errors.ConfigError(f"process {index}: {problem}")
    if len({digest for digest, _ in told}) > 1:
        raise errors.ConfigError(_differences(group.gather(mine)))
    return made


def _differences(told: list[dict[str, str]]) -> str:
    """Describes the first process whose fields differ from those of process 0."""
    first = told[0]
    index = next(i for i, other in enumerate(told) if other != first)
    other = told[index]
    names = sorted(n for n in first | other if first.get(n) != other.get(n))
    shown = "; ".join(
        f"{n} is {other.get(n, 'missing')} in process {index} and "
        f"{first.get(n, 'missing')} in process 0"
        for n in names[:_MOST_NAMED]
    )
    more = len(names) - _MOST_NAMED
    rest = f"; and {more} more" if more > 0 else ""
    return f"all processes need the same configuration and data: {shown}{rest}"
