"""The progress line on the terminal."""

import datetime
import time
from typing import TextIO

from clinometer.kernels import terminal

# Seconds between updates of the line on a terminal, and between lines in a file.
_TERMINAL_SECONDS = 0.2
_FILE_SECONDS = 15.0


class ProgressLine:
    """Shows step, loss, speed and remaining time on standard error."""

    def __init__(self, name: str, train_steps: int, stream: TextIO | None = None):
        """Creates the line; shows nothing yet.

        Args:
            name: name of the model, put before each line.
            train_steps: number of steps in the whole run.
            stream: where to write; None for standard error.
        """
        self._name = name
        self._train_steps = train_steps
        self._line = terminal.Line(_FILE_SECONDS, stream)
        self._first: tuple[int, float] | None = None
        self._shown = -float("inf")

    def update(self, step: int, loss: float, validation_loss: float | None) -> None:
        """Updates the line at a limited rate, and always after the last step.

        Args:
            step: number of completed steps.
            loss: training loss of this step, in nats per token.
            validation_loss: the latest validation loss in nats per token, or None.
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
        """Shows a message in place of the step, loss and speed."""
        self._line.draw(f"{self._name} {text}")

    def note(self, text: str) -> None:
        """Writes permanent lines above the progress line."""
        self._line.note(f"{self._name} {text}")

    def close(self) -> None:
        """Ends the line, if the stream is a terminal."""
        self._line.close()
