"""Starts several operating-system processes and collects what they print.

    with processes.Group(tmp_path, commands) as group:
        assert group.wait(60) == [0, 0]
        print(group.output(1))

A child that calls `connect` sees its own CPU device and those of the others.
"""

from collections.abc import Sequence
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from clinometer.tests.kernels import child

_PLACE = "CLINOMETER_TEST_PROCESS"  # "index count port"


def python(module: str, *arguments: str) -> list[str]:
    """Returns the command that runs a module."""
    return [sys.executable, "-m", module, *arguments]


def free_port() -> int:
    """Returns a TCP port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect() -> None:
    """Connects this child with the others, if there are any, by `jax.distributed`."""
    index, count, port = map(int, os.environ[_PLACE].split())
    if count > 1:
        import jax

        jax.distributed.initialize(f"127.0.0.1:{port}", count, index)


class Group:
    """Child processes, which are killed at the end of the context.

    Attributes:
        children: the processes, in the order of the commands.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        commands: Sequence[Sequence[str]],
        **environment: str,
    ):
        """Starts one process for each command.

        Args:
            folder: an existing folder for the output.
            commands: the commands, of process 0 first.
            **environment: variables to set; those set to "" are removed.
        """
        port = free_port()
        self.children: list[subprocess.Popen[bytes]] = []
        self._logs = [folder / f"process-{i}.log" for i in range(len(commands))]
        for index, command in enumerate(commands):
            place = {_PLACE: f"{index} {len(commands)} {port}"}
            with self._logs[index].open("wb") as log:
                process = subprocess.Popen(
                    command,
                    env=child.environ(**place, **environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            self.children.append(process)

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, *unused: object) -> None:
        for process in self.children:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)  # Also ends a stopped process.
            process.wait()

    def output(self, index: int) -> str:
        """Returns what a process has printed so far, to either stream."""
        return self._logs[index].read_text(errors="replace")

    def wait(self, seconds: float, *indices: int) -> list[int]:
        """Waits for processes to end and returns their exit codes.

        Args:
            seconds: the time limit, generous, since the machine may be busy.
            *indices: the processes to wait for; by default all.

        Raises:
            AssertionError: a process still runs; has the last output of each.
        """
        end = time.monotonic() + seconds
        chosen = [self.children[i] for i in indices or range(len(self.children))]
        while any(process.poll() is None for process in chosen):
            assert time.monotonic() < end, f"not ended in {seconds} s{self.tails()}"
            time.sleep(0.05)
        return [process.returncode for process in chosen]

    def tails(self) -> str:
        """Returns the last output of each process, for messages."""
        return "".join(
            f"\n--- process {i}, exit code {process.poll()}\n{self.output(i)[-3000:]}"
            for i, process in enumerate(self.children)
        )
