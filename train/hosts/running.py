"""What the training loop shares with the other processes of its run."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import time
from typing import Any

import jax
from ml_collections import config_dict

from clinometer.data import paths
from clinometer.train import errors
from clinometer.train import state as state_lib
from clinometer.train.host import preemption
from clinometer.train.hosts import failure
from clinometer.train.hosts import group as group_lib
from clinometer.train.hosts import hub
from clinometer.train.hosts import session as session_lib
from clinometer.train.hosts import stop as stop_lib
from clinometer.train.hosts import watchdog as watchdog_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import lease as lease_lib

# After an error of JAX, for the news that another process was lost, which may come
# only after it had time to end properly.
_NEWS_SECONDS = 3 * hub.GRACE_SECONDS
# Errors that are known not to be due to another process.
_OWN = (errors.RunHeldError, errors.DivergedError)


@dataclasses.dataclass(frozen=True)
class Running:
    """The other processes, the lease that process 0 holds, and the requests to stop.

    Attributes:
        group: the processes.
        lease: the lease of the run; None in all processes but process 0.
        stop: the request to stop.
        watchdog: watches that steps end.
    """

    group: group_lib.Group
    lease: lease_lib.Lease | None
    stop: stop_lib.Vote
    watchdog: watchdog_lib.Watchdog

    def fetched(self, outputs: tuple[state_lib.StepMetrics, jax.Array]) -> Any:
        """Fetches what a step has returned beside the state, which ends the step.

        Args:
            outputs: its metrics, on the devices, and whether all processes stop.

        Returns:
            The metrics, on the host.
        """
        metrics, stop = jax.device_get(outputs)
        self.stop.fetched(stop)
        self.watchdog.step_done()
        return metrics

    def other(self, doing: str) -> contextlib.AbstractContextManager[None]:
        """Returns a context for work that may take longer than a step.

        Args:
            doing: what is done, such as "the evaluation".
        """
        return self.watchdog.other(doing)

    def check_lease(self) -> None:
        """Checks in all processes that process 0 still holds the lease.

        Raises:
            RunHeldError: another process has taken over.
        """
        by_first(self.group, lambda: self.lease.check())

    def await_news(self, error: BaseException) -> None:
        """Waits after an error, which may be due to the loss of another process.

        In this case it does not return: the news of the loss ends this process.

        Args:
            error: the error.
        """
        may_be = isinstance(error, Exception) and not isinstance(error, _OWN)
        if self.group.size > 1 and may_be:
            time.sleep(_NEWS_SECONDS)


@contextlib.contextmanager
def entered(
    session: session_lib.Session,
    directory: run_directory.RunDirectory,
    config: config_dict.FrozenConfigDict,
    mesh: jax.sharding.Mesh,
) -> Iterator[Running]:
    """Returns a context in which this process takes part in a run.

    Process 0 creates the run directory and takes the lease. SIGTERM, Ctrl-C and a stop
    file request a stop; the file is removed once the run has stopped.

    Args:
        session: the processes.
        directory: the run directory.
        config: the configuration of the run.
        mesh: the devices that train.

    Raises:
        RunHeldError: another process holds the lease.
    """
    group, departure = session.group, session.departure
    lease = directory.lease() if session.is_first else None

    def take() -> None:
        paths.make_folder(directory.path)
        lease.__enter__()

    by_first(group, take)
    with contextlib.ExitStack() as stack:
        if lease is not None:
            stack.push(lease.__exit__)
        departure.record = failure.Failure(directory, group.index, lease)
        stack.callback(setattr, departure, "record", None)
        request = stack.enter_context(preemption.StopRequest())
        watchdog = watchdog_lib.Watchdog(
            config.hosts.watchdog_seconds,
            config.hosts.watchdog_other_seconds,
            departure.stuck,
        )
        stack.enter_context(watchdog)
        vote = stop_lib.Vote(request, mesh, alone=group.size == 1)
        if lease is None:
            yield Running(group, lease, vote, watchdog)
            return
        with stop_lib.StopFile(directory.path, request) as file:
            yield Running(group, lease, vote, watchdog)
            file.remove()


def by_first(group: group_lib.Group, action: Callable[[], Any]) -> None:
    """Does something in process 0; an error there is an error of all processes.

    Args:
        group: the processes.
        action: what to do.

    Raises:
        RunHeldError: the action raised it.
        RunError: the action raised it, or OSError; in process 0 the latter is raised.
    """
    raised = None
    if group.index == 0:
        try:
            action()
        except (errors.RunError, OSError) as error:
            raised = error
    held = isinstance(raised, errors.RunHeldError)
    told = group.broadcast(raised and [held, str(raised)])
    if raised is not None:
        raise raised
    if told is not None:
        held, text = told
        raise errors.RunHeldError(text) if held else errors.RunError(text)
