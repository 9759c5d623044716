"""What the processes of a run must agree on about their checkpoints.

Each process could otherwise see other files, or an error of its own, and go on with
another step than the others. All processes must call these functions in the same order.
"""

from collections.abc import Callable
import json
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np

from clinometer.train import errors

_LEAST_BYTES = 1024


def from_first(function: Callable[[], Any]) -> Any:
    """Returns what a function returns on process 0, which alone calls it.

    Args:
        function: returns a value that JSON can express.

    Raises:
        RunError: the function raised it; on all processes.
    """
    if jax.process_count() == 1:
        return function()
    found: dict[str, Any] = {}
    if jax.process_index() == 0:
        try:
            found = {"value": function()}
        except errors.RunError as error:
            found = {"error": str(error)}
    text = json.dumps(found).encode()
    size = int(multihost_utils.broadcast_one_to_all(np.int32(_padded(len(text)))))
    text = np.frombuffer(text[:size].ljust(size), np.uint8)
    text = np.asarray(multihost_utils.broadcast_one_to_all(text), np.uint8)
    found = json.loads(text.tobytes())
    if "error" in found:
        raise errors.RunError(found["error"])
    return found["value"]


def any_message(message: str | None) -> str | None:
    """Returns the message of the first process that has one, or None.

    Args:
        message: a message of this process that is not empty, or None.
    """
    if jax.process_count() == 1:
        return message
    text = (message or "").encode()[:_LEAST_BYTES].ljust(_LEAST_BYTES)
    gathered = multihost_utils.process_allgather(np.frombuffer(text, np.uint8))
    rows = np.asarray(gathered, np.uint8).reshape(jax.process_count(), -1)
    texts = (row.tobytes().decode(errors="replace").strip() for row in rows)
    return next((text for text in texts if text), None)


def _padded(size: int) -> int:
    """Returns the size of a message, one of few: each is a program of its own."""
    return max(_LEAST_BYTES, 1 << (size - 1).bit_length())
