"""A request to stop that all processes of a run see after the same step.

The request of each process is an input of the train step, which returns the largest.
"""

from collections.abc import Callable
import contextlib
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.data import paths
from clinometer.train.host import preemption

FILE_NAME = "stop"
POLL_SECONDS = 5.0


def abstract_flag(mesh: jax.sharding.Mesh) -> jax.ShapeDtypeStruct:
    """Returns the shape, dtype and sharding of `flag`.

    Args:
        mesh: the devices that train.
    """
    spec = jax.sharding.PartitionSpec(mesh.axis_names)
    sharding = jax.sharding.NamedSharding(mesh, spec)
    return jax.ShapeDtypeStruct((mesh.size,), jnp.int32, sharding=sharding)


def flag(abstract: jax.ShapeDtypeStruct, requested: bool) -> jax.Array:
    """Returns the request of this process, as an input of the step.

    Args:
        abstract: from `abstract_flag`.
        requested: whether this process should stop.

    Returns:
        int32 [devices], with this process's request on each of its devices.
    """
    local = len(abstract.sharding.addressable_devices)
    return jax.make_array_from_process_local_data(
        abstract.sharding, np.full([local], requested, np.int32), abstract.shape
    )


def with_flag(step: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """Adds the request to a step.

    Args:
        step: (state, batch) -> (state, metrics).

    Returns:
        (state, batch, flag) -> (state, (metrics, int32 scalar: 1 to stop)).
    """

    def stepped(state: Any, batch: Any, flag: jax.Array) -> tuple[Any, Any]:
        state, metrics = step(state, batch)
        return state, (metrics, jnp.max(flag))

    return stepped


class StopFile:
    """A context in which a file `stop` in the run directory requests a stop.

    It works under any launcher, and where signals reach only some processes.
    """

    def __init__(
        self,
        directory: paths.PathLike,
        request: preemption.StopRequest,
        seconds: float = POLL_SECONDS,
    ):
        """Prepares a thread.

        Args:
            directory: the run directory.
            request: is set once the file is there.
            seconds: time between looks.
        """
        self._path = paths.parse(directory) / FILE_NAME
        self._request, self._seconds = request, seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="stop", daemon=True)

    def __enter__(self) -> "StopFile":
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._end.set()
        self._thread.join()

    def remove(self) -> None:
        """Removes the file, so that the next start of the run goes on."""
        with contextlib.suppress(FileNotFoundError):
            paths.remove(self._path)

    def _look(self) -> None:
        while True:
            with contextlib.suppress(OSError):  # The next look may succeed.
                if paths.is_file(self._path):
                    self._request.set()
                    return
            if self._end.wait(self._seconds):
                return
