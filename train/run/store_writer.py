"""Writes checkpoints to an object store.

Orbax needs a disk that all processes share, and renames, which object stores lack. Each
process therefore writes its arrays to a temporary folder and copies the files, which
are those that Orbax would have written. The metadata comes last: without it there is no
checkpoint.
"""

from collections.abc import Mapping
import concurrent.futures
import contextlib
import dataclasses
import errno
import pathlib
import re
import tempfile
import time
from typing import Any

import jax
from orbax.checkpoint import checkpoint_managers

from clinometer.data import paths
from clinometer.train import errors
from clinometer.train.run import array_files
from clinometer.train.run import checkpoint_meta
from clinometer.train.run import consensus
from clinometer.train.run import json_file

_OTHERS_SECONDS = 3600.0  # For the other processes to copy their files.
_POLL_SECONDS = 0.5
_WRITTEN = "written-by-"
_DIRECTORY_FILE = re.compile(
    rf"ocdbt\.process_\d+/(manifest\.ocdbt|{array_files.DIRECTORIES}.*)"
)


def complete_steps(directory: paths.AnyPath) -> list[int]:
    """Returns the steps of the checkpoints that were written to the end, ascending.

    Raises:
        OSError: the store cannot be read.
    """
    return [step for step in _started(directory) if _is_complete(directory, step)]


def _started(directory: paths.AnyPath) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(int(n) for n in paths.names(directory) if n.isdecimal())
    return []


def _is_complete(directory: paths.AnyPath, step: int) -> bool:
    return paths.exists(directory / str(step) / checkpoint_meta.FILE)


@dataclasses.dataclass(frozen=True)
class _Info:
    """What policies are told of a checkpoint."""

    step: int
    metrics: Mapping[str, Any] | None


class StoreWriter:
    """Writes the checkpoints of a prefix in an object store in the background."""

    def __init__(
        self,
        directory: paths.AnyPath,
        policy: checkpoint_managers.PreservationPolicy,
    ):
        """Removes checkpoints that were not written to the end.

        Args:
            directory: path of the checkpoints.
            policy: which checkpoints to keep.

        Raises:
            RunError: the store cannot be read.
        """
        self._directory, self._policy = directory, policy
        self._steps = consensus.from_first(self._clean)
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")
        self._metrics: dict[int, Mapping[str, Any] | None] = {}
        self._writing: concurrent.futures.Future[None] | None = None

    def _clean(self) -> list[int]:
        try:
            complete = complete_steps(self._directory)
            for step in _started(self._directory):
                if step not in complete:
                    self._remove(step)
        except OSError as error:
            raise errors.RunError(f"{self._directory}: {error.strerror}") from error
        return complete

    def steps(self) -> list[int]:
        """Returns the steps of the checkpoints, including one that is being written.

        Those that the policy has deleted may be among them.
        """
        return self._steps

    def start(self, step: int, arrays: Any, meta: Mapping[str, Any]) -> None:
        """Starts to write a checkpoint.

        Args:
            step: its step.
            arrays: this process's `host_copy.HostCopy`, in canonical form.
            meta: the metadata.
        """
        self._steps = [*self._steps, step]
        self._writing = self._thread.submit(self._write, step, [arrays], meta)

    def wait(self) -> None:
        """Waits until the checkpoint is written; raises what went wrong."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def close(self) -> None:
        """Ends the background thread."""
        self._thread.shutdown()

    def _write(self, step: int, arrays: list[Any], meta: Mapping[str, Any]) -> None:
        folder = self._directory / str(step)
        process, count = jax.process_index(), jax.process_count()
        with tempfile.TemporaryDirectory(prefix="clinometer-checkpoint-") as temporary:
            local = pathlib.Path(temporary)
            array_files.write(local, arrays.pop())  # And lets go of the copies.
            own = paths.files_below(local)
            self._upload(local, own, folder)
            if process > 0:
                paths.write_bytes(folder / f"{_WRITTEN}{process}", b"")
                self._wait_for([folder / checkpoint_meta.FILE])
                return
            marks = [folder / f"{_WRITTEN}{other}" for other in range(1, count)]
            self._wait_for(marks)
            fetched = self._fetch_directories(folder / array_files.ITEM, local)
            array_files.finish(local)
            whole = set(paths.files_below(local)) - {*own, *fetched}
            self._upload(local, sorted(whole), folder)
        paths.write_text(folder / checkpoint_meta.FILE, json_file.dumps(meta))
        for mark in marks:
            paths.remove(mark)
        self._remove_old()

    def _upload(
        self, local: pathlib.Path, names: list[str], folder: paths.AnyPath
    ) -> None:
        for name in names:
            paths.upload(local / name, folder / array_files.ITEM / name)

    def _wait_for(self, files: list[paths.AnyPath]) -> None:
        """Waits until other processes have written files."""
        end = time.monotonic() + _OTHERS_SECONDS
        while missing := [str(file) for file in files if not paths.exists(file)]:
            if time.monotonic() > end:
                raise TimeoutError(errno.ETIMEDOUT, "not written", missing[0])
            time.sleep(_POLL_SECONDS)

    def _fetch_directories(
        self, folder: paths.AnyPath, local: pathlib.Path
    ) -> list[str]:
        """Copies the files that say where in the other processes' files arrays are."""
        names = [
            name
            for name in paths.files_below(folder)
            if _DIRECTORY_FILE.fullmatch(name) and not (local / name).exists()
        ]
        for name in names:
            (local / name).parent.mkdir(parents=True, exist_ok=True)
            paths.download(folder / name, local / name)
        return names

    def _remove_old(self) -> None:
        steps = complete_steps(self._directory)
        for step in steps:
            if step not in self._metrics:
                self._metrics[step] = self._measured(step)
        infos = [_Info(step, self._metrics[step]) for step in steps]
        context = checkpoint_managers.PreservationContext()
        kept = self._policy.should_preserve(infos, context=context)
        for step, keep in zip(steps, kept, strict=True):
            if not keep:
                self._remove(step)

    def _measured(self, step: int) -> Mapping[str, Any] | None:
        try:
            return checkpoint_meta.measured(self._directory / str(step))
        except checkpoint_meta.BrokenError:  # Damaged after the store was opened.
            return None

    def _remove(self, step: int) -> None:
        folder = self._directory / str(step)
        with contextlib.suppress(FileNotFoundError):
            paths.remove(folder / checkpoint_meta.FILE)
        paths.remove_tree(folder)
