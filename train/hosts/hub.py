"""Process 0 of several: where the others connect, and who notices that one is lost.

It listens at the coordinator's address. Each process opens one connection as a member,
which it keeps for the whole run, and one for each connection of JAX (`relay`). A member
whose connection breaks, or that sends nothing for the heartbeat timeout, is lost; all
others are told and end.
"""

import contextlib
import socket
import threading
import time
from typing import Any

from clinometer.train import errors
from clinometer.train.hosts import channel as channel_lib
from clinometer.train.hosts import group
from clinometer.train.hosts import relay

BEATS_PER_TIMEOUT = 4
# A process may announce its end this long before the others reach theirs.
GRACE_SECONDS = 10.0
_GREETING_SECONDS = 10.0


class Hub(group.Group):
    """Process 0."""

    def __init__(
        self,
        listener: socket.socket,
        size: int,
        name: str,
        *,
        service_port: int,
        timeout_seconds: float,
        on_lost: group.OnLost,
    ):
        """Starts to accept connections.

        Args:
            listener: a listening socket.
            size: number of processes.
            name: name of this machine.
            service_port: port of JAX's coordination service on this machine.
            timeout_seconds: silence after which a member counts as lost.
            on_lost: called once.
        """
        super().__init__(0, size)
        self._listener, self._service_port = listener, service_port
        self._timeout_seconds, self._on_lost = timeout_seconds, on_lost
        self._names = {0: name}
        self._members: dict[int, channel_lib.Channel] = {}
        self._values: dict[int, Any] = {}
        self._refused: str | None = None
        self._lost = self._leaving = False
        self._left: set[int] = set()
        self._changed = threading.Condition()
        self._start(self._accept)

    def meet(self, seconds: float) -> None:
        """Waits for all members, then lets them go on.

        Args:
            seconds: how long to wait.

        Raises:
            RunError: a member was started otherwise than this process, or some did not
                come; the message names them, and all members get it.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._refused or len(self._members) == self.size - 1, seconds
            )
            missing = sorted(set(range(1, self.size)) - self._members.keys())
            problem = self._refused
        if problem is None and missing:
            named = ", ".join(map(str, missing))
            problem = f"did not start within {seconds:g} s: process {named}"
        if problem is not None:
            self._tell({"refused": problem})
            raise errors.RunError(problem)
        self._tell({"go": True})
        self._start(self._beat)

    def gather(self, value: Any) -> list[Any]:
        """See `Group`."""
        with self._changed:
            self._values[0] = value
            self._changed.wait_for(lambda: len(self._values) == self.size)
            values, self._values = self._values, {}
        gathered = [values[index] for index in range(self.size)]
        self._tell({"gathered": gathered})
        return gathered

    def leave(self, code: int) -> None:
        """See `Group`."""
        with self._changed:
            self._leaving = True
        self._tell({"leave": code})

    def _start(self, target: Any, *arguments: Any) -> None:
        threading.Thread(target=target, args=arguments, name="hub", daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            self._start(self._greet, connection)

    def _greet(self, connection: socket.socket) -> None:
        channel = channel_lib.Channel(connection)
        try:
            message = channel.receive(_GREETING_SECONDS) or {}
        except (OSError, ValueError):  # Not one of our processes.
            message = {}
        if message.get("kind") == "relay":
            with contextlib.suppress(errors.RunError, OSError):
                relay.to_service(connection, self._service_port)
        elif message.get("kind") == "member":
            self._admit(channel, message)
        else:
            channel.close()

    def _admit(self, channel: channel_lib.Channel, message: dict[str, Any]) -> None:
        index, size = message["index"], message["size"]
        name = message["host"]
        with self._changed:
            if size != self.size:
                self._refused = (
                    f"--num-processes is {size} in process {index} ({name}) and "
                    f"{self.size} in process 0 ({self._names[0]})"
                )
            elif index == 0 or index in self._members:
                self._refused = (
                    f"--process-id {index} was given to two processes, on {name} and "
                    f"on {self._names[index]}"
                )
            refused = self._refused
            if refused is None:
                self._members[index], self._names[index] = channel, name
            self._changed.notify_all()
        if refused is not None:
            with contextlib.suppress(OSError):
                channel.send({"refused": refused})
            return
        self._listen(index, channel)

    def _listen(self, index: int, channel: channel_lib.Channel) -> None:
        problem = "its connection closed"
        try:
            while (message := channel.receive(self._timeout_seconds)) is not None:
                if "gather" in message:
                    with self._changed:
                        self._values[index] = message["gather"]
                        self._changed.notify_all()
                if "leave" in message:
                    self._left.add(index)
                    time.sleep(GRACE_SECONDS)
                    problem = f"it ended with exit code {message['leave']}"
                    break
        except TimeoutError:
            problem = f"no sign of life for {self._timeout_seconds:g} s"
        except (OSError, ValueError) as error:
            problem = str(error)
        with self._changed:
            if self._lost or self._leaving:
                return
            self._lost = True
        sentence = f"process {index} ({self._names[index]}) is lost: {problem}"
        self._tell({"lost": sentence, "index": index})
        self._on_lost(index, sentence)

    def _beat(self) -> None:
        while not self._lost:
            time.sleep(self._timeout_seconds / BEATS_PER_TIMEOUT)
            self._tell({})

    def _tell(self, message: dict[str, Any]) -> None:
        with self._changed:
            members = dict(self._members)
        for index, channel in members.items():
            if index not in self._left:
                with contextlib.suppress(OSError):  # `_listen` notices it.
                    channel.send(message)
