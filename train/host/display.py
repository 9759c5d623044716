"""What a person watches: TensorBoard and the progress line."""

from collections.abc import Mapping
import datetime
import os
import time
from typing import Any
from typing import TextIO

import tensorboardX

from clinometer.kernels import terminal

# On a terminal the line is renewed; in a file a new line is added now and then.
_TERMINAL_SECONDS = 0.2
_FILE_SECONDS = 15.0


class TensorBoard:
    """Writes numbers as scalars; a resumed run hides what came after `start_step`."""

    def __init__(self, directory: str | os.PathLike[str], start_step: int):
        """Opens an event file in `directory`."""
        self._writer = tensorboardX.SummaryWriter(
            logdir=str(directory), purge_step=start_step + 1
        )

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes every number of a record, and of its lists; leaves out the rest."""
        for name, value in values.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(name, value, step)
            elif isinstance(value, list):
                numbered = {f"{name}/{i}": part for i, part in enumerate(value)}
                self.write(step, numbered)

    def close(self) -> None:
        """Flushes and closes the file."""
        self._writer.close()


class ProgressLine:
    """Step, loss, speed and time to go, on standard error."""

    def __init__(self, name: str, train_steps: int, stream: TextIO | None = None):
        """Shows nothing yet; `name` stands before each line."""
        self._name = name
        self._train_steps = train_steps
        self._line = terminal.Line(_FILE_SECONDS, stream)
        self._first: tuple[int, float] | None = None
        self._shown = -float("inf")

    def update(self, step: int, loss: float, validation_loss: float | None) -> None:
        """Shows the line if the last one is old enough, and always after the last step.

        Args:
            step: steps done.
            loss: of this step, in nats per token.
            validation_loss: the newest, if there is one.
        """
        now = time.monotonic()
        if self._first is None:
            self._first = (step, now)
        interval = _TERMINAL_SECONDS if self._line.on_terminal else _FILE_SECONDS
        if now - self._shown < interval and step != self._train_steps:
            return
        self._shown = now
        text = f"{self._name} step {step}/{self._train_steps} loss {loss:.3f}"
        if validation_loss is not None:
            text += f" validation {validation_loss:.3f}"
        if step > self._first[0]:
            rate = (step - self._first[0]) / (now - self._first[1])
            left = datetime.timedelta(seconds=round((self._train_steps - step) / rate))
            text += f" {rate:.2f} steps/s ETA {left}"
        self._line.draw(text)

    def say(self, text: str) -> None:
        """Shows what goes on between steps."""
        self._line.draw(f"{self._name} {text}")

    def close(self) -> None:
        """Ends the line on a terminal, if there is one."""
        self._line.close()
