"""Makes the executor that a study's configuration names."""

import argparse
from collections.abc import Callable

from clinometer.tools.study import executor
from clinometer.tools.study.engines import local
from clinometer.tools.study.engines import ray_cluster
from clinometer.tools.study.engines import settings as settings_lib
from clinometer.tools.study.engines import slurm


def check(options: argparse.Namespace) -> None:
    """Checks that there is the cluster that the configuration names, if any.

    Args:
        options: of the command.

    Raises:
        ConfigError: its package is not installed, or there is no cluster that takes
            such runs.
    """
    if options.study.engine.name != settings_lib.LOCAL:
        make(options, warn=print, lock=-1)


def make(
    options: argparse.Namespace, *, warn: Callable[[str], None], lock: int
) -> executor.Executor:
    """Returns the executor of a study.

    Args:
        options: of the command.
        warn: called with a message for the user.
        lock: file descriptor of the folder's lock, which local runs inherit.

    Raises:
        ConfigError: its package is not installed, or there is no cluster that takes
            such runs.
    """
    settings = options.study.engine
    if settings.name == settings_lib.RAY:
        return ray_cluster.RayExecutor(settings)
    if settings.name == settings_lib.SLURM:
        return slurm.SlurmExecutor(settings, options.out, say=warn)
    return local.LocalExecutor(
        options.jobs, warn=warn, programs=options.out / "programs", keep_open=(lock,)
    )
