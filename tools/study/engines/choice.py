"""Makes the executor that a study's configuration names."""

import argparse
from collections.abc import Callable

from clinometer.tools.study import executor
from clinometer.tools.study.engines import local


def make(
    options: argparse.Namespace, *, warn: Callable[[str], None], lock: int
) -> executor.Executor:
    """Returns the executor of a study.

    Args:
        options: of the command.
        warn: called with a message for the user.
        lock: file descriptor of the folder's lock, which local runs inherit.

    Raises:
        ConfigError: its package is not installed, or there is no such cluster.
    """
    return local.LocalExecutor(options.jobs, warn=warn, keep_open=(lock,))
