"""Runs the tasks of a study on a Ray cluster: one Ray task a run.

Ray decides which task runs where and when, and starts a task again whose worker or node
was lost. The cluster must be running, and its nodes need this Python environment and
the study's folders, at the same paths.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os
import socket
from typing import Any

from clinometer.tools.study import executor
from clinometer.tools.study.engines import policy
from clinometer.tools.study.engines import settings as settings_lib
from clinometer.tools.study.engines import stop_files
from clinometer.tools.study.engines import tries
from clinometer.train import errors
from clinometer.train import exit_codes

_PASSED_ON = ("JAX_", "XLA_", "CLINOMETER_")  # Prefixes of variables that runs get.
_CONNECT_SECONDS = 10.0
_UNLIMITED = -1  # Retries: the workers apply the rule of progress.


@dataclasses.dataclass(frozen=True)
class Submitted:
    """A task of the cluster; the handle of `RayExecutor`.

    Attributes:
        task: the run.
        reference: Ray's reference to its result.
    """

    task: executor.Task
    reference: Any


class RayExecutor:
    """Runs tasks on a Ray cluster.

    Attributes:
        poll_seconds: time between two looks at all tasks.
    """

    poll_seconds = 1.0

    def __init__(self, settings: settings_lib.EngineSettings):
        """Connects to the cluster.

        Args:
            settings: the address of the cluster, and what a run gets.

        Raises:
            ConfigError: Ray is not installed, no cluster runs at the address, or none
                of its nodes has what a run needs.
        """
        self._ray = _connected(settings.ray_address)
        needs = {"CPU": settings.cpus, "GPU": settings.gpus, **settings.ray_resources}
        self._check_nodes({name: amount for name, amount in needs.items() if amount})
        # Imported here because it needs Ray.
        from clinometer.tools.study.engines import ray_worker

        self._cpus = settings.cpus
        self._train = self._ray.remote(
            num_cpus=settings.cpus,
            num_gpus=settings.gpus,
            resources=dict(settings.ray_resources),
            max_retries=_UNLIMITED,
        )(ray_worker.train)
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(_PASSED_ON)
        }

    def submit(self, tasks: Sequence[executor.Task]) -> list[Submitted]:
        """Adds the tasks to the queue of the cluster."""
        return [
            Submitted(
                task,
                self._train.options(name=task.name).remote(
                    task, self._cpus, self._environment
                ),
            )
            for task in tasks
        ]

    def poll(self, handle: Submitted) -> int | None:
        """Returns the exit code; None while the task is queued or runs."""
        exceptions = self._ray.exceptions
        ready, _ = self._ray.wait([handle.reference], timeout=0)
        if not ready:
            return None
        try:
            return self._ray.get(handle.reference)
        except exceptions.TaskCancelledError:
            return exit_codes.STOPPED
        except exceptions.RayTaskError as error:
            with open(handle.task.log, "a", encoding="utf-8") as log:
                log.write(f"{error}\n")
            return exit_codes.FAILED
        except exceptions.RayError:
            return policy.WORKER_LOST

    def cancel(self, handle: Submitted, *, force: bool = False) -> None:
        """Writes a stop file, or takes the task out of the queue; `force` kills it."""
        task = handle.task
        stop_files.write(task.folder)
        if force or not tries.is_running(task.folder, task.submission):
            self._ray.cancel(handle.reference, force=force)

    def _check_nodes(self, needs: Mapping[str, float]) -> None:
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(
            all(node.get(name, 0) >= amount for name, amount in needs.items())
            for node in nodes
        ):
            wanted = ", ".join(f"{amount:g} {name}" for name, amount in needs.items())
            kinds = sorted({name for node in nodes for name in node if ":" not in name})
            raise errors.ConfigError(
                f"config.executor: a run needs {wanted}, which no node of the Ray "
                f"cluster has; its {len(nodes)} nodes have {', '.join(kinds)}"
            )


def _connected(address: str) -> Any:
    """Returns the module `ray`, connected to the cluster at an address."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # Each takes 40 s.
    try:
        import ray
    except ModuleNotFoundError as error:
        raise errors.ConfigError(
            f"--executor ray: the Python package '{error.name}' is not installed; "
            "pip install 'clinometer[ray]', or `make setup-ray` in a checkout"
        ) from error
    if ray.is_initialized():
        return ray
    host, _, port = address.rpartition(":")
    try:
        if address != settings_lib.AUTO:
            # Ray itself would try for minutes.
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
        ray.init(
            address=address,
            log_to_driver=False,
            configure_logging=False,
            # On one machine, the address by which its nodes know each other.
            **({"_node_ip_address": host} if host.startswith("127.") else {}),
        )
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise errors.ConfigError(
            f"--executor ray: no Ray cluster at config.executor.ray.address = "
            f"{address!r} ({str(error).splitlines()[0]}); start one with "
            "`ray start --head`, and `ray start --address=HOST:PORT` on its nodes"
        ) from error
    return ray
