"""A process other than process 0, connected to process 0's hub."""

import contextlib
import queue
import threading
import time
from typing import Any

from clinometer.train import errors
from clinometer.train.hosts import channel as channel_lib
from clinometer.train.hosts import group
from clinometer.train.hosts import hub as hub_lib


class Member(group.Group):
    """A process other than process 0."""

    def __init__(
        self,
        channel: channel_lib.Channel,
        index: int,
        size: int,
        name: str,
        *,
        hub: str,
        timeout_seconds: float,
        on_lost: group.OnLost,
    ):
        """Introduces itself; `meet` waits for the others.

        Args:
            channel: the connection to the hub.
            index: index of this process.
            size: number of processes.
            name: name of this machine.
            hub: HOST:PORT of the hub, for messages.
            timeout_seconds: silence after which the hub counts as lost.
            on_lost: called once.
        """
        super().__init__(index, size)
        self._channel, self._hub = channel, hub
        self._timeout_seconds, self._on_lost = timeout_seconds, on_lost
        self._gathered: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        self._leaving = threading.Event()
        channel.send({"kind": "member", "index": index, "size": size, "host": name})

    def meet(self, seconds: float) -> None:
        """Waits until the hub has met all members.

        Args:
            seconds: how long to wait.

        Raises:
            RunError: the hub refuses this process or another, or does not answer.
        """
        try:
            message = self._channel.receive(seconds)
        except TimeoutError:
            message = {"refused": f"process 0 does not go on within {seconds:g} s"}
        except (OSError, ValueError) as error:
            message = {"refused": f"{self._hub} is not process 0 of a run ({error})"}
        if message is None:
            message = {"refused": f"{self._hub} ended, or is not process 0 of a run"}
        if "refused" in message:
            raise errors.RunError(message["refused"])
        for target in (self._listen, self._beat):
            threading.Thread(target=target, name="member", daemon=True).start()

    def gather(self, value: Any) -> list[Any]:
        """See `Group`."""
        with contextlib.suppress(OSError):  # `_listen` notices it.
            self._channel.send({"gather": value})
        return self._gathered.get()

    def leave(self, code: int) -> None:
        """See `Group`."""
        self._leaving.set()
        with contextlib.suppress(OSError):  # The hub has left before.
            self._channel.send({"leave": code})

    def _listen(self) -> None:
        index, problem = 0, "its connection closed"
        sentence = None
        try:
            while (message := self._channel.receive(self._timeout_seconds)) is not None:
                if "gathered" in message:
                    self._gathered.put(message["gathered"])
                if "lost" in message:
                    index, sentence = message["index"], message["lost"]
                    break
                if "leave" in message:
                    time.sleep(hub_lib.GRACE_SECONDS)
                    problem = f"it ended with exit code {message['leave']}"
                    break
        except TimeoutError:
            problem = f"no sign of life for {self._timeout_seconds:g} s"
        except (OSError, ValueError) as error:
            problem = str(error)
        if self._leaving.is_set():
            return
        self._on_lost(index, sentence or f"process 0 ({self._hub}) is lost: {problem}")

    def _beat(self) -> None:
        while not self._leaving.is_set():
            time.sleep(self._timeout_seconds / hub_lib.BEATS_PER_TIMEOUT)
            try:
                self._channel.send({})
            except OSError:
                return  # `_listen` notices it.
