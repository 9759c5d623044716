"""Implements `clinometer study --power`."""

import argparse
from collections.abc import Sequence
import sys

from clinometer.data import progress as progress_lib
from clinometer.tools.inference import power
from clinometer.tools.study import plan
from clinometer.tools.study.power import inputs as inputs_lib
from clinometer.tools.study.power import text
from clinometer.train import exit_codes


def run(
    options: argparse.Namespace,
    runs: Sequence[plan.PlannedRun],
    margin: float | None,
) -> int:
    """Simulates a study and prints what it could detect; returns the exit code.

    Args:
        options: of the command.
        runs: the planned runs, by canonical names.
        margin: the margin of the file of claims, nats, if it has one.

    Raises:
        ConfigError, InferenceError, RecordError, FitError: see `inputs.make`.
    """
    settings = options.study.power
    try:
        made = inputs_lib.make(options, runs, margin)
        with progress_lib.Progress("power", settings.draws, "studies") as progress:
            progress.update(0, 0)
            found = power.simulate(
                made.design,
                reference=made.reference,
                curve=made.curve,
                sd=made.sd,
                margin=made.margin,
                effects=sorted({0.0, 1.0, *settings.effects}),
                order_sd=made.order_sd,
                held_out_size=made.held_out,
                draws=settings.draws,
                seed=settings.seed,
                progress=lambda done: progress.update(done, done),
            )
            progress.finish(f"{settings.draws:,} simulated studies")
    except KeyboardInterrupt:
        print("\nStopped; nothing was written.", file=sys.stderr)
        return exit_codes.INTERRUPTED
    print("\n".join(text.lines(made, found, settings.seed)))
    return exit_codes.DONE
