"""The processes that train one run together, as each of them sees the others."""

from collections.abc import Callable
from typing import Any
from typing import TypeAlias

# Called with the index of a process that ended or fell silent, and a sentence on it.
OnLost: TypeAlias = Callable[[int, str], None]


class Group:
    """One process alone; `hub.Hub` and `member.Member` are one of several.

    Attributes:
        index: index of this process; process 0 writes the files of the run.
        size: number of processes.
    """

    def __init__(self, index: int = 0, size: int = 1):
        """Stores the place of this process."""
        self.index, self.size = index, size

    def gather(self, value: Any) -> list[Any]:
        """Returns the values of all processes, by index.

        All processes call it in the same order. It waits for the last of them, however
        long that takes; the loss of one ends this process, by `OnLost`.

        Args:
            value: anything that JSON can express.
        """
        return [value]

    def broadcast(self, value: Any = None) -> Any:
        """Returns the value of process 0; all processes call it in the same order.

        Args:
            value: anything that JSON can express; ignored in the other processes.
        """
        return self.gather(value if self.index == 0 else None)[0]

    def leave(self, code: int) -> None:
        """Tells the others that this process ends, so that it does not count as lost.

        Args:
            code: its exit code.
        """
