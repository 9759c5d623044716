"""Implements `clinometer study --tune`: sweeps, then adds their rates to the table."""

import argparse
from collections.abc import Sequence
import pathlib
import sys

from clinometer.tools.study import carrying
from clinometer.tools.study import folder
from clinometer.tools.study import phases
from clinometer.tools.study import plan
from clinometer.tools.study import record_folder
from clinometer.tools.study import sweep
from clinometer.tools.study.tuning import table as table_lib
from clinometer.train import exit_codes


def tune(
    options: argparse.Namespace,
    runs: Sequence[plan.PlannedRun],
    source: str,
    command: str,
    lock: int,
) -> int:
    """Tunes the architectures at the sizes of the planned runs.

    The runs of each round follow from the losses of the ones before, so the number of
    rounds is not known beforehand.

    Args:
        options: of the command.
        runs: the planned runs of the study, by canonical names.
        source: path of the token store, or folder of the images.
        command: the command, to be given again to resume.
        lock: file descriptor of the folder's lock.

    Returns:
        The exit code.

    Raises:
        StudyError: the folder of a sweep holds another run, or a size cannot be tuned.
        RecordError: a record cannot be read.
    """
    steps = options.study.protocol.train_steps
    ladders = sweep.ladders(run.model for run in runs)
    path = pathlib.Path(options.study.rates or options.out / table_lib.FILE_NAME)
    # Read first, since a damaged table should not cost a sweep.
    table = table_lib.read(path) if path.is_file() else table_lib.Table()
    kept = record_folder.path_of(options)
    if kept is not None:
        shared = options.study.protocol.settings()
        folder.check_settings(kept, shared, "--records", only_given=True)
        if (kept / table_lib.FILE_NAME).is_file():
            before = table_lib.read(kept / table_lib.FILE_NAME)
            table = before.updated(table.entries)
    if restored := record_folder.restore(options):
        print(f"{restored} runs restored from {kept}")
    record_folder.keep_all(options)
    while True:
        standing = [sweep.standing(ladder, options.out) for ladder in ladders]
        asked = [run for progress in standing for run in progress.runs]
        work = phases.pretrainings(options, asked, source)
        pending = [one for one in work if not one.finished]
        done = len(work) - len(pending)
        if not pending:
            break
        print(
            f"{len(work)} sweep runs so far: {done} already finished, "
            f"{len(pending)} to do"
        )
        state = carrying.carry_out(options, pending, steps, lock)
        left = [
            one.name
            for one in pending
            if state.exit_codes.get(one.name) != exit_codes.DONE
            and not carrying.has_diverged(one.folder)
        ]
        if left and not state.interrupted:
            print(f"Failed: {', '.join(left)}", file=sys.stderr)
            return exit_codes.FAILED
        if left:
            print(f"Stopped. To resume:\n  {command}")
            return exit_codes.STOPPED
    settings = options.study.protocol.rate_settings()
    entries = [
        sweep.entry(ladder, progress, settings, options.out)
        for ladder, progress in zip(ladders, standing)
    ]
    table = table.updated(entries)
    table_lib.write(path, table)
    if kept is not None:
        table_lib.write(kept / table_lib.FILE_NAME, table)
    print(sweep.render(entries))
    print(f"rates:  {path}, from {len(work)} sweep runs, which enter no fit")
    return exit_codes.DONE
