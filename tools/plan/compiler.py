"""Runs the TPU compiler in child processes, which may hang, crash or be stopped."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from typing import Any

from clinometer.kernels import python_child
from clinometer.tools.plan import child

# Environment variables that libtpu needs to compile on a machine without a TPU.
ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # Otherwise a second process fails at a lock.
    "JAX_PLATFORMS": "cpu",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # Any type: there is no such host.
    # Failures of the simulator can repeat without end, and log up to 1 GB three times.
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_SKIP_MDS_QUERY": "1",  # There is no metadata server.
    "TPU_WORKER_HOSTNAMES": "localhost",
    # The caller's are for another compiler: libtpu ends at a flag that it does not
    # know, and a program's key would not tell one that it knows.
    "XLA_FLAGS": "",
}
_DUMP = (
    "--xla_jf_dump_to={}",
    "--xla_jf_dump_llo_text=true",
    "--xla_jf_dump_hlo_text=true",
    "--xla_jf_dump_llo_pass_label_regex=final.*|pre-finalize.*",
)
_SIMULATE = ("--xla_jf_dump_static_llo_profile_to={}",)
FLAGS = {"compile": (), "bundles": _DUMP, "simulate": _DUMP + _SIMULATE}
# Limit for a child's first event, after it has imported JAX and loaded libtpu.
START_SECONDS = 120.0
_ERROR = re.compile(
    r"Check failed|LLO_CHECK|INTERNAL|UNIMPLEMENTED|INVALID_ARGUMENT|RESOURCE_EXHAUSTED"
    r"|[Uu]nsupported|[Nn]ot implemented|Error"
)

# The prefix of a log line: severity, time, thread, file and line.
_LOGGED = re.compile(r"^[FEWI]\d{4} [\d:.]+\s+\d+ \S+\] ")


@dataclasses.dataclass(frozen=True)
class Compilation:
    """A program to compile for a topology.

    Attributes:
        case: key of a case.
        implementation: one of the case's implementations.
        dtype: dtype of operands that don't have their own.
        topology: the compiler's name of the topology, e.g. "v5e:2x2".
        kernel: name of a Pallas call to compile by itself; "" for the whole program.
    """

    case: tuple[str, str, str]
    implementation: str
    dtype: str
    topology: str
    kernel: str = ""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of a compilation.

    Attributes:
        job: the compilation.
        reason: why there is no compiled program, or why the process ended; else None.
        folder: folder with the compiler's output, even if it then failed; None if there
            is no output.
        values: name -> number of the compiled program; empty if there is no program.
        lost: whether the process ended before it reported a result.
        late: whether the time limit was exceeded or the process was killed from
            outside. The output written until then depends on the machine.
    """

    job: Compilation
    reason: str | None
    folder: pathlib.Path | None
    values: dict[str, Any]
    lost: bool = False
    late: bool = False

    def discard(self) -> None:
        """Deletes the compiler's output, which may be tens of megabytes."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class StoppedError(Exception):
    """The compiler was stopped."""


def libtpu_version() -> str:
    """Returns libtpu's version.

    Raises:
        ModuleNotFoundError: libtpu is not installed.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise ModuleNotFoundError("No module named 'libtpu'", name="libtpu")
    return importlib.metadata.version("libtpu")


class Compiler:
    """Compiles programs in child processes; a context manager.

    Leaving the context ends the processes and deletes their output.

    Attributes:
        table: the function that returns the cases, as "module:function".
        timeout: time limit of a job, in seconds.
    """

    def __init__(self, table: str, timeout: float) -> None:
        self.table = table
        self.timeout = timeout
        self._work = tempfile.TemporaryDirectory(prefix="tpu-cost-")
        self._lock = threading.Lock()
        self._living: set[_Child] = set()
        self._stopped = False

    def __enter__(self) -> "Compiler":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._work.cleanup()

    def stop(self) -> None:
        """Ends all child processes and starts no more; may be called by any thread."""
        with self._lock:
            self._stopped = True
            living = list(self._living)
        for process in living:
            process.close()

    def run(self, jobs: Sequence[Compilation], mode: str) -> Iterator[Outcome]:
        """Runs jobs one after the other.

        If a child process ends, a new one continues with the remaining jobs.

        Args:
            jobs: the programs to compile.
            mode: key of `FLAGS`, which determines what the compiler writes.

        Yields:
            The outcome of each job, as soon as it is known.

        Raises:
            StoppedError: `stop` was called.
        """
        left = list(enumerate(jobs))
        folders = pathlib.Path(tempfile.mkdtemp(prefix=mode, dir=self._work.name))
        process: _Child | None = None
        try:
            while left:
                process = process or self._start(left, mode, folders)
                place, job = left.pop(0)
                values, reason, late = process.outcome(self.timeout)
                if self._stopped:
                    raise StoppedError
                folder = folders / str(place)
                if values is None:
                    self._end(process)
                    child.move(process.dump, folder)
                    process = None
                lost = process is None and not late
                yield Outcome(job, reason, folder, values or {}, lost, late)
        finally:
            if process is not None:
                self._end(process)

    def _start(
        self, jobs: Sequence[tuple[int, Compilation]], mode: str, folders: pathlib.Path
    ) -> "_Child":
        with self._lock:
            if self._stopped:
                raise StoppedError
            # If the simulator ends its process, what was written until then depends on
            # other threads. On a single core it runs only one thread.
            cores = sorted(os.sched_getaffinity(0))
            core = cores[len(self._living) % len(cores)]
            process = _Child(
                jobs, mode, self.table, folders, core if mode == "simulate" else None
            )
            self._living.add(process)
            return process

    def _end(self, process: "_Child") -> None:
        process.close()
        with self._lock:
            self._living.discard(process)


class _Child:
    """A process that runs `child.py`; `close` ends it and its process group."""

    def __init__(
        self,
        jobs: Sequence[tuple[int, Compilation]],
        mode: str,
        table: str,
        folders: pathlib.Path,
        core: int | None,
    ) -> None:
        home = pathlib.Path(tempfile.mkdtemp(prefix="child", dir=folders))
        self.dump = home / "dump"
        self.dump.mkdir()
        request = home / "request.json"
        described = {
            "table": table,
            "dump": str(self.dump),
            "folders": str(folders),
            "core": core,
            "jobs": [(place, dataclasses.asdict(job)) for place, job in jobs],
        }
        request.write_text(json.dumps(described), encoding="utf-8")
        self._errors = home / "stderr"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                python_child.module(child.__name__, str(request)),
                env=_environment(mode, self.dump),
                stdin=subprocess.PIPE,  # The child ends when this process ends.
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C reaches only this process.
            )
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def outcome(self, timeout: float) -> tuple[dict[str, Any] | None, str | None, bool]:
        """Waits for the result of the next job.

        Args:
            timeout: time limit in seconds.

        Returns:
            A tuple of: the job's values, empty if the program was rejected and None if
            the process has ended; the reason if there is no program; and whether the
            time limit was exceeded or the process was killed.
        """
        try:
            begun = self._events.get(timeout=START_SECONDS)
            event = begun and self._events.get(timeout=timeout)
        except queue.Empty:
            return None, f"not done after {timeout:g} seconds", True
        if event is None:
            # If it was killed, perhaps for lack of memory, that depends on the machine.
            killed = self._process.wait() == -signal.SIGKILL
            return None, self._last_words(), killed
        reason = event.pop("reason")
        values = {k: v for k, v in event.items() if k not in ("event", "job")}
        return values, reason and _short(reason), False

    def close(self) -> None:
        """Ends the process and its children."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put(json.loads(line))
        self._events.put(None)

    def _last_words(self) -> str:
        code = self._process.wait()
        said = last_words(self._errors.read_text("utf-8", "replace"))
        return f"the compiler's process ended with {code}: {said}"


def last_words(log: str) -> str:
    """Returns the line of a log that says most about why its process ended.

    Args:
        log: what the process wrote to standard error.
    """
    lines = log.splitlines()
    fatal = [line for line in lines if _LOGGED.match(line) and line[0] == "F"]
    telling = [line for line in lines if _ERROR.search(line)]
    return _short((fatal or telling or lines or ["nothing"])[-1])


def _environment(mode: str, dump: pathlib.Path) -> dict[str, str]:
    flags = " ".join(flag.format(dump) for flag in FLAGS[mode])
    return python_child.environment(os.environ) | environment(flags, dump.parent)


def environment(flags: str, home: pathlib.Path) -> dict[str, str]:
    """Returns the variables of a child with the TPU compiler.

    Args:
        flags: the compiler's flags.
        home: folder for the compiler's logs.
    """
    return ENVIRONMENT | {"LIBTPU_INIT_ARGS": flags, "TPU_LOG_DIR": str(home)}


def _short(reason: str) -> str:
    """Returns a message without the compiler's stack and paths."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    text = _LOGGED.sub("", lines[0]) if lines else "no reason"
    # Mosaic's reason comes after a heading.
    more = next((line for line in lines[1:] if _ERROR.search(line)), "")
    return f"{text} {more}".strip()[:600]
