"""Meets a hub and its members within one process, one thread each, without JAX."""

from collections.abc import Callable
import queue
import threading
from typing import Any

from clinometer.train.hosts import channel
from clinometer.train.hosts import group as group_lib
from clinometer.train.hosts import hub
from clinometer.train.hosts import member


class Meeting:
    """A hub and members.

    Attributes:
        groups: by index.
        losses: what `on_lost` was called with, by index of the process called.
        channels: the members' ends of their connections, by index.
    """

    def __init__(self, size: int, timeout_seconds: float = 60.0):
        """Lets all processes meet."""
        listener = channel.listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        self.losses = [queue.SimpleQueue() for _ in range(size)]
        self.channels: dict[int, channel.Channel] = {}

        def on_lost(index: int) -> group_lib.OnLost:
            return lambda *lost: self.losses[index].put(lost)

        self.groups: list[Any] = [
            hub.Hub(
                listener,
                size,
                "host0",
                service_port=0,
                timeout_seconds=timeout_seconds,
                on_lost=on_lost(0),
            )
        ]
        for index in range(1, size):
            connection = channel.connect("127.0.0.1", port, 10.0)
            self.channels[index] = channel.Channel(connection)
            self.groups.append(
                member.Member(
                    self.channels[index],
                    index,
                    size,
                    f"host{index}",
                    hub="host0:1",
                    timeout_seconds=timeout_seconds,
                    on_lost=on_lost(index),
                )
            )
        self.each(lambda group: group.meet(10.0))

    def each(self, function: Callable[[group_lib.Group], Any]) -> list[Any]:
        """Calls a function for all groups at once; returns its values and errors."""
        results: list[Any] = [None] * len(self.groups)

        def call(index: int) -> None:
            try:
                results[index] = function(self.groups[index])
            except ValueError as error:
                results[index] = error

        threads = [
            threading.Thread(target=call, args=(i,)) for i in range(len(self.groups))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30.0)
            assert not thread.is_alive()
        return results
