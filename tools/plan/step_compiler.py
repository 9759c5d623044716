"""Compiles train steps in child processes, which may crash, or run out of memory."""

from collections.abc import Mapping
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
from typing import Any

from clinometer.kernels import python_child
from clinometer.kernels.options.errors import OptionError
from clinometer.tools.plan import compiler
from clinometer.tools.plan import cuda
from clinometer.tools.plan import request as request_lib
from clinometer.tools.plan import step_cache
from clinometer.tools.plan import step_child
from clinometer.train import errors

# Of the schedules, only those of Pallas calls are read; XLA's fusions have estimates.
_DUMP_FLAGS = (
    "--xla_jf_dump_to={}",
    "--xla_jf_dump_llo_text=true",
    "--xla_jf_dump_llo_pass_label_regex=final_bundles",
)


class RefusedError(OptionError):
    """A model, batch or mesh is not possible; nothing was compiled."""


class LostError(errors.RunError):
    """The compiler's process ended or took too long, for a reason that may pass."""


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A train step that was compiled now or before.

    Attributes:
        key: hash of the program, the topology and the compiler's version.
        cached: whether it was compiled before.
        entry: what the compiler said.
    """

    key: str
    cached: bool
    entry: step_cache.Entry


class StepCompiler:
    """Compiles train steps; a context manager, which ends all processes on exit.

    Attributes:
        cache: the folder of the cache, see `step_cache.folder`.
        timeout: time limit of a compilation, in seconds.
    """

    def __init__(self, cache: pathlib.Path, timeout: float) -> None:
        self.cache = cache
        self.timeout = timeout
        self._lock = threading.Lock()
        self._living: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def __enter__(self) -> "StepCompiler":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends all processes and starts no more; may be called by any thread."""
        with self._lock:
            self._stopped = True
            for process in self._living:
                _kill(process)

    def run(self, request: request_lib.Request) -> Compiled:
        """Compiles a train step, unless the cache has its program.

        May be called by several threads.

        Args:
            request: the step.

        Raises:
            RefusedError: the model, batch or mesh is not possible.
            LostError: the process ended before it reported a result.
        """
        event = self.call(step_child.__name__, request)
        entry = step_cache.load(self.cache, event["key"])
        if entry is None:
            raise LostError(f"its program is no longer in {self.cache}")
        return Compiled(event["key"], event["cached"], entry)

    def call(self, module: str, request: request_lib.Request) -> dict[str, Any]:
        """Runs one of our modules as a child with the compiler of the request.

        Args:
            module: the module; it gets the path of a job and prints one event.
            request: the request of the job.

        Raises:
            RefusedError: the event says that the request is refused.
            LostError: the process ended before it printed an event.
        """
        with tempfile.TemporaryDirectory(prefix="clinometer-plan-") as work:
            home = pathlib.Path(work)
            (home / "dump").mkdir()
            job = {
                "request": request.to_json(),
                "cache": str(self.cache),
                "dump": str(home / "dump"),
            }
            (home / "job.json").write_text(json.dumps(job), encoding="utf-8")
            own = _environment(request.platform, home / "dump")
            code = self._run_child(module, home, own)
            told = (home / "stdout").read_text(encoding="utf-8").strip()
            if not told:
                raise LostError(_reason(code, (home / "stderr").read_bytes()))
        event = json.loads(told)
        if "refused" in event:
            raise RefusedError(event["refused"])
        return event

    def _run_child(
        self, module: str, home: pathlib.Path, own: Mapping[str, str]
    ) -> int:
        """Runs the child until it has ended; returns its exit code."""
        with (home / "stdout").open("wb") as out, (home / "stderr").open("wb") as log:
            with self._lock:
                if self._stopped:
                    raise LostError("stopped")
                process = subprocess.Popen(
                    python_child.module(module, str(home / "job.json")),
                    env={**python_child.environment(os.environ), **own},
                    stdin=subprocess.PIPE,  # The child ends when this process ends.
                    stdout=out,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C reaches only this process.
                )
                self._living.add(process)
            try:
                return process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                raise LostError(
                    f"not compiled after {self.timeout:g} seconds"
                ) from None
            finally:
                _kill(process)
                process.wait()
                assert process.stdin is not None
                process.stdin.close()
                with self._lock:
                    self._living.discard(process)


def _environment(platform: str, dump: pathlib.Path) -> dict[str, str]:
    """Returns the environment variables of a platform's compiler."""
    if platform == cuda.PLATFORM:
        return cuda.ENVIRONMENT
    flags = " ".join(flag.format(dump) for flag in _DUMP_FLAGS)
    return compiler.environment(flags, dump.parent)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its children, if it is still running."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _reason(code: int, log: bytes) -> str:
    said = compiler.last_words(log.decode("utf-8", "replace"))
    if code == -signal.SIGKILL:
        said = f"it was killed, perhaps for lack of memory; {said}"
    return f"the compiler's process ended with {code}: {said}"
