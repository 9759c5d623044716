"""A request to stop that all processes of a run see after the same step.

The request of each process is an input of the train step, a further array of the batch.
The step returns the largest.
"""

from collections.abc import Callable
from collections.abc import Mapping
import contextlib
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.data import paths
from clinometer.train.host import preemption

FILE_NAME = "stop"
_KEY = "stop"  # In a batch.
POLL_SECONDS = 5.0


def abstract_flag(mesh: jax.sharding.Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the array to add to a batch: its shape, dtype and sharding.

    Args:
        mesh: the devices that train.
    """
    spec = jax.sharding.PartitionSpec(mesh.axis_names)
    sharding = jax.sharding.NamedSharding(mesh, spec)
    return {_KEY: jax.ShapeDtypeStruct((mesh.size,), jnp.int32, sharding=sharding)}


def with_flag(step: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """Returns a step that takes a batch with the array of `abstract_flag`.

    Args:
        step: (state, batch) -> (state, metrics).

    Returns:
        (state, batch) -> (state, (metrics, int32 scalar, 1 to stop)).
    """

    def stepped(state: Any, batch: Mapping[str, jax.Array]) -> tuple[Any, Any]:
        rest = dict(batch)
        flag = rest.pop(_KEY)
        state, metrics = step(state, rest)
        return state, (metrics, jnp.max(flag))

    return stepped


class Vote:
    """Whether the processes of a run stop."""

    def __init__(
        self,
        request: preemption.StopRequest,
        mesh: jax.sharding.Mesh,
        *,
        alone: bool,
    ):
        """Puts both possible requests on the devices.

        Args:
            request: the request of this process.
            mesh: the devices that train.
            alone: whether there are no other processes.
        """
        self._request, self._alone = request, alone
        self._agreed = False
        (abstract,) = abstract_flag(mesh).values()
        local = len(abstract.sharding.addressable_devices)
        self._flags = [
            jax.make_array_from_process_local_data(
                abstract.sharding, np.full([local], value, np.int32), abstract.shape
            )
            for value in (0, 1)
        ]

    @property
    def flag(self) -> dict[str, jax.Array]:
        """The array to add to the batch of the next step."""
        return {_KEY: self._flags[self._request.is_set]}

    def fetched(self, value: Any) -> None:
        """Takes what a step has returned.

        Args:
            value: the second of its outputs beside the state, on the host.
        """
        self._agreed = bool(value)

    @property
    def agreed(self) -> bool:
        """Whether all processes stop; changes only in `fetched` if there are others."""
        return self._request.is_set if self._alone else self._agreed


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
