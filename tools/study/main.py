"""Implements `clinometer study`: trains a list of runs, then writes the report."""

import argparse
import contextlib
import pathlib
import shlex
import sys

from clinometer.data import errors as data_errors
from clinometer.kernels import devices
from clinometer.kernels.options.errors import OptionError
from clinometer.models.architectures import registry
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.report import build
from clinometer.tools.report import formats
from clinometer.tools.report import records
from clinometer.tools.study import errors
from clinometer.tools.study import executor as executor_lib
from clinometer.tools.study import folder
from clinometer.tools.study import options as options_lib
from clinometer.tools.study import phases
from clinometer.tools.study import plan
from clinometer.tools.study import progress as progress_lib
from clinometer.tools.study import protocol as protocol_lib
from clinometer.tools.study import runner
from clinometer.tools.study import summary
from clinometer.train import errors as train_errors
from clinometer.train import exit_codes
from clinometer.train.run import directory as run_directory

_ENDINGS = {
    exit_codes.DONE: "finished",
    exit_codes.STOPPED: "stopped and saved",
    exit_codes.HELD: "in use by another process",
}
_TAIL_LINES = 15


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    options = options_lib.parse(argv)
    command = shlex.join(["clinometer", "study", *argv])
    try:
        devices.check()
        runs = _plan(options)
        if options.dry_run:
            store = str(options.store or "EMBEDDED_STORE")
            for run in runs:
                work = [phases.pretraining(options, run, store)]
                if options.downstream:
                    work.append(phases.finetuning(options, run, store))
                for one in work:
                    print(f"{one.name}: {shlex.join(one.command)}")
            return exit_codes.DONE
        with folder.locked(options.out) as lock:
            return _study(options, runs, command, lock)
    except BrokenPipeError:
        raise  # The runs have saved; `cli.main` reports the error.
    except (
        errors.StudyError,
        records.RecordError,
        fit_errors.FitError,
        data_errors.DataError,
        train_errors.RunError,
        OptionError,
        OSError,
    ) as error:
        print(f"clinometer study: {error}", file=sys.stderr)
        return exit_codes.of_error(error)
    except KeyboardInterrupt:
        print(f"\nStopped. To resume:\n  {command}", file=sys.stderr)
        return exit_codes.STOPPED


def _study(
    options: argparse.Namespace, runs: list[plan.PlannedRun], command: str, lock: int
) -> int:
    """Runs the study, with the folder's lock held; returns the exit code."""
    settings = phases.protocol(options).settings()
    folder.check_settings(options.out, settings)
    phases.check_downstream(options)
    store = _store(options)
    stages = (
        ("runs", options.steps, lambda: phases.pretrainings(options, runs, store)),
        (
            "fine-tunings",
            options.downstream_steps,
            lambda: phases.finetunings(options, runs, store),
        ),
    )
    failed, unfinished = [], 0
    for what, steps, find in stages:
        work = find()
        pending = [one for one in work if not one.finished]
        if work:
            finished = len(work) - len(pending)
            print(
                f"{len(work)} {what}: {finished} already finished, {len(pending)} to do"
            )
        if not pending:
            continue
        folder.write_settings(options.out, command, settings)
        state = _carry_out(options, pending, steps, lock)
        unfinished += sum(state.exit_codes.get(one.name) != 0 for one in pending)
        if state.interrupted and unfinished:
            print(f"Stopped with {unfinished} {what} left. To resume:\n  {command}")
            return exit_codes.STOPPED
        fine = (exit_codes.DONE, exit_codes.STOPPED)
        failed += [n for n, c in state.exit_codes.items() if c not in fine]
        if failed and not options.keep_going:
            break
    if any(folder.has_finished(phases.run_folder(options, run)) for run in runs):
        report = build.build(options.out)
        print(summary.render(report))
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
        return exit_codes.FAILED
    if unfinished:
        print(f"{unfinished} left to do. To resume:\n  {command}")
        return exit_codes.STOPPED
    return exit_codes.DONE


def _plan(options: argparse.Namespace) -> list[plan.PlannedRun]:
    """Returns the planned runs with canonical names; raises ConfigError on bad ones."""
    runs = plan.plan_runs(
        options.archs,
        options.sizes,
        options.seeds,
        replicate_seeds=options.replicate,
        replicate_largest=options.replicate_largest,
    )
    named = []
    for run in runs:
        try:
            model = registry.parse(run.model).canonical
            phases.count(options, model)
        except ValueError as error:
            raise train_errors.ConfigError(f"{run.model}: {error}") from error
        named.append(plan.PlannedRun(model, run.seed))
    return list(dict.fromkeys(named))


def _store(options: argparse.Namespace) -> str:
    """Returns the path of the token store; creates the embedded one on first use."""
    # Imported here because it loads the packages that read and tokenize corpora.
    from clinometer.data.corpus import embedded

    if options.store is not None:
        return str(options.store)
    return str(embedded.ensure_store(vocab_size=protocol_lib.VOCAB_SIZE))


def _carry_out(
    options: argparse.Namespace, pending: list[phases.RunCommand], steps: int, lock: int
) -> runner.State:
    """Runs the pending work, the longest first, and prints its progress."""
    costs = phases.costs(options, pending)
    folders = {one.name: one.folder for one in pending}
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    order = sorted(pending, key=lambda one: (-costs[one.name], one.name))
    tasks = [
        runner.Command(one.name, one.command, one.folder / "log.txt") for one in order
    ]
    progress = progress_lib.StudyProgress(
        folders, costs, steps=steps, jobs=options.jobs, out=sys.stdout
    )

    def on_start(task: runner.Command) -> None:
        step = progress_lib.read_standing(folders[task.name]).step
        started = f"resuming at step {step}" if step else "starting"
        progress.say(f"{task.name}: {started}")

    def on_end(task: runner.Command, code: int) -> None:
        words = _ENDINGS.get(code)
        if words is None:
            ended = f"signal {-code}" if code < 0 else f"exit code {code}"
            words = f"FAILED ({ended}); last lines of {task.log}:\n{_tail(task.log)}"
        progress.say(f"{task.name}: {words}{_result(folders[task.name], code)}")

    interrupts = runner.Interrupts()
    told = []

    def on_tick(state: runner.State) -> None:
        if state.stopping and state.running and not told:
            told.append(True)
            progress.say("Stopping; the runs are saving. Press Ctrl-C to kill them.")
        progress.tick(list(state.running), [task.name for task in state.waiting])

    with interrupts.catch(), contextlib.closing(progress):
        executor = executor_lib.LocalExecutor(
            options.jobs, warn=progress.say, keep_open=(lock,)
        )
        return runner.run_all(
            tasks,
            executor,
            jobs=options.jobs,
            interrupts=interrupts,
            on_start=on_start,
            on_end=on_end,
            on_tick=on_tick,
            keep_going=options.keep_going,
        )


def _result(run: pathlib.Path, code: int) -> str:
    """Returns the loss or scores, and the wall time, of a run that finished."""
    if code != 0:
        return ""
    record = records.read_record(run_directory.RunDirectory(run))
    total = formats.duration(record.wall_seconds.total)
    if record.downstream and record.downstream.tasks:
        listed = (
            f"{task} {formats.with_error(found.best, found.standard_error)}"
            for task, found in sorted(record.downstream.tasks.items())
        )
        return f", {', '.join(listed)}, {total}"
    loss = formats.fixed(record.metrics.validation_loss, 4)
    return f", validation loss {loss}, {total}"


def _tail(log: pathlib.Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-_TAIL_LINES:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
