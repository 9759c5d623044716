"""Writes the metrics of a run to TensorBoard event files."""

from collections.abc import Mapping
import json

import tensorboardX

from clinometer.train.run import mirrored_folder
from clinometer.train.tracking import tracker as tracker_lib


class TensorBoard:
    """Writes event files; a resumed run hides the values after its first step."""

    def __init__(self, run: tracker_lib.TrackedRun):
        """Opens an event file.

        Args:
            run: the run.
        """
        self._folder = mirrored_folder.MirroredFolder(run.directory.tensorboard_path)
        self._writer = tensorboardX.SummaryWriter(
            logdir=str(self._folder.local), purge_step=run.start_step + 1
        )
        config = json.dumps(run.config, indent=1, default=str)
        # Indented text is code in TensorBoard's Markdown.
        self._writer.add_text("config", f"    {config}".replace("\n", "\n    "))
        self._writer.add_text("git_revision", str(run.git_revision))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker.scalars`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def sync(self) -> None:
        """See `Tracker.sync`; copies the files to an object store."""
        self._writer.flush()
        self._folder.send()

    def finish(self, status: str) -> None:
        """See `Tracker.finish`."""
        self._writer.add_text("status", status)
        self._writer.close()
        self._folder.close()
