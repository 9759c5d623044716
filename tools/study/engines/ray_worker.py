"""What a task of a Ray cluster does: one try to train a run."""

from collections.abc import Mapping
import os
import socket

import ray

from clinometer.tools.study import executor
from clinometer.tools.study.engines import attempt
from clinometer.tools.study.engines import settings


def train(task: executor.Task, cpus: int, environment: Mapping[str, str]) -> int:
    """Trains a run until its process ends, in a worker of the cluster.

    Args:
        task: the run.
        cpus: number of cores.
        environment: variables of the study's own environment that change results.

    Returns:
        The exit code, see `policy`.
    """
    context = ray.get_runtime_context()
    one = attempt.Attempt(
        task,
        engine=settings.RAY,
        job=context.get_task_id(),
        cpus=cpus,
        # Several nodes of a cluster may be on one machine.
        node=f"{socket.gethostname()}:{context.get_node_id()}",
    )
    return one.run({**os.environ, **environment})
