"""Records that a run failed, from whichever of its processes can."""

import contextlib
import dataclasses
import time

from clinometer.train import errors
from clinometer.train.run import directory as run_directory
from clinometer.train.run import lease as lease_lib

# Between the processes, so that the lowest one is the first to try.
_STAGGER_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Failure:
    """Writes the status "failed" of a run; `Departure.record` of its processes.

    Attributes:
        directory: the run directory.
        index: index of this process.
        lease: the lease of the run, which process 0 holds; None in the others.
    """

    directory: run_directory.RunDirectory
    index: int
    lease: lease_lib.Lease | None

    def __call__(self, sentence: str, first_lost: bool) -> None:
        """Writes the status, unless another process does or did.

        Args:
            sentence: what happened.
            first_lost: whether process 0 may be unable to write it. The lowest of the
                other processes that gets the lease then does.

        Raises:
            RunHeldError: another process has taken over the run.
        """
        if self.lease is not None:
            self.lease.check()
            self._write(sentence)
            self.lease.release()
        elif first_lost:
            time.sleep(_STAGGER_SECONDS * (self.index - 1))
            # Another process may write it, or train the run again.
            with contextlib.suppress(errors.RunHeldError), self.directory.lease():
                self._write(sentence)

    def _write(self, sentence: str) -> None:
        if not self.directory.has_record:
            return
        record = self.directory.record()
        if record.status == "running":
            self.directory.write_record(
                dataclasses.replace(record, status="failed", error=sentence)
            )
