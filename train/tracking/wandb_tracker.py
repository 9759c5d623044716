"""Sends the metrics of a run to Weights & Biases.

W&B's own environment variables and login say where to: WANDB_MODE, WANDB_PROJECT,
WANDB_ENTITY, WANDB_API_KEY.
"""

from collections.abc import Mapping
import os
import secrets
import tempfile

import wandb

from clinometer.data import paths
from clinometer.train.tracking import kept_id
from clinometer.train.tracking import tracker as tracker_lib

NAME = "wandb"


class WeightsAndBiases:
    """A run of W&B, which a resumed run of ours continues."""

    def __init__(self, run: tracker_lib.TrackedRun):
        """Starts a run of W&B, or continues the one whose id the run directory has.

        Args:
            run: the run.
        """
        # Chosen here, so that it is kept before W&B may hang or the process end.
        identifier = kept_id.read(run.directory, NAME)
        if identifier is None:
            identifier = secrets.token_hex(8)
            kept_id.write(run.directory, NAME, identifier)
        folder = run.directory.trackers_path
        if paths.is_remote(folder):
            folder = tempfile.mkdtemp()
        else:
            paths.make_folder(folder)
        # Without a key it fails; otherwise it would ask for one at the terminal.
        wandb.setup(settings=wandb.Settings(silent=True))
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "clinometer"),
            name=run.name,
            id=identifier,
            resume="allow",
            dir=str(folder),
            config={**run.config, "git_revision": run.git_revision},
            # The terminal has the progress line.
            settings=wandb.Settings(console="off"),
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker.scalars`.

        W&B takes no step below its latest. A resumed run repeats such steps with the
        same values, so that nothing is lost by leaving them out.
        """
        if step >= self._run.step:
            self._run.log(dict(values), step=step)

    def sync(self) -> None:
        """See `Tracker.sync`; W&B has a process that sends."""

    def finish(self, status: str) -> None:
        """See `Tracker.finish`."""
        self._run.summary["status"] = status
        self._run.finish(exit_code=1 if status == "failed" else 0)
