"""A command that runs in one process or in several that work together."""

import argparse
from collections.abc import Callable
import dataclasses
import sys
import traceback

from clinometer.data import errors as data_errors
from clinometer.kernels.options.errors import OptionError
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train.hosts import departure as departure_lib
from clinometer.train.hosts import distributed
from clinometer.train.hosts import group as group_lib
from clinometer.train.hosts import options


@dataclasses.dataclass(frozen=True)
class Session:
    """The processes of a command.

    Attributes:
        group: this process and the others.
        departure: ends this process when the work cannot go on.
    """

    group: group_lib.Group
    departure: departure_lib.Departure

    @property
    def is_first(self) -> bool:
        """Whether this is process 0, which alone writes files and prints results."""
        return self.group.index == 0


def alone(command: str = "clinometer") -> Session:
    """Returns the session of a process without others.

    Args:
        command: name of the command, for messages.
    """
    return Session(group_lib.Group(), departure_lib.Departure(command))


def run(
    command: str, arguments: argparse.Namespace, work: Callable[[Session], int]
) -> int:
    """Runs the work of a command, after connecting the processes.

    Args:
        command: e.g. "clinometer train", for messages.
        arguments: with those of `options`.
        work: returns the exit code; may raise errors of the input.

    Returns:
        The exit code. If other processes may still be running, the process ends here.
    """
    session = alone(command)
    try:
        group = distributed.start(options.parse(arguments), session.departure)
        session = dataclasses.replace(session, group=group)
        distributed.check_devices(group, arguments.local_device_ids)
        code = work(session)
    except (errors.RunError, data_errors.DataError, OptionError) as error:
        print(f"{command}: error: {error}", file=sys.stderr, flush=True)
        code = exit_codes.of_error(error)
    except BaseException as error:
        if session.group.size == 1:
            raise
        # Python would wait for the other processes before it says so.
        if isinstance(error, KeyboardInterrupt):
            print(f"\n{command}: interrupted", file=sys.stderr)
            code = exit_codes.INTERRUPTED
        else:
            traceback.print_exc()
            code = exit_codes.FAILED
    return distributed.finish(session.group, code)
