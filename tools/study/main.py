"""Implements `clinometer study`: trains a list of runs, then writes the report."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import pathlib
import shlex
import shutil
import sys
import time

from clinometer.data import errors as data_errors
from clinometer.kernels import devices
from clinometer.kernels.options import deprecation
from clinometer.kernels.options.errors import OptionError
from clinometer.models.architectures import registry
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.inference import errors as inference_errors
from clinometer.tools.report import build
from clinometer.tools.report import records
from clinometer.tools.study import carrying
from clinometer.tools.study import dry_run
from clinometer.tools.study import errors
from clinometer.tools.study import folder
from clinometer.tools.study import options as options_lib
from clinometer.tools.study import passes as passes_lib
from clinometer.tools.study import phases
from clinometer.tools.study import plan
from clinometer.tools.study import protocol as protocol_lib
from clinometer.tools.study import record_folder
from clinometer.tools.study import run_rates
from clinometer.tools.study import source as source_lib
from clinometer.tools.study import summary
from clinometer.tools.study import tune
from clinometer.tools.study.claims import errors as claims_errors
from clinometer.tools.study.claims import file as claims_file
from clinometer.tools.study.engines import choice
from clinometer.tools.study.power import command as power
from clinometer.train import errors as train_errors
from clinometer.train import exit_codes


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    deprecation.show()
    options = options_lib.parse(argv)
    command = shlex.join(["clinometer", "study", *argv])
    try:
        devices.check()
        runs = _plan(options)
        if options.power:
            if options.study.protocol.of_images:
                raise errors.StudyError("--power: simulates studies of texts only")
            claims = _claims(options)
            return power.run(options, runs, claims and claims.margin)
        if not options.dry_run:
            choice.check(options)
        if options.tune:
            with folder.locked(options.out) as lock:
                return tune.tune(options, runs, _source(options), command, lock)
        claims = _claims(options)
        marked = [
            dataclasses.replace(run, claims=claims and claims.sha256) for run in runs
        ]
        # A missing rate is said before the corpus is made.
        rated = run_rates.rate(options.study, marked, options.out, None)
        if options.dry_run:
            form = options.dry_run == dry_run.COMMANDS and dry_run.commands
            print("\n".join((form or dry_run.table)(options, rated.runs)))
            return exit_codes.DONE
        with folder.locked(options.out) as lock:
            return _study(options, rated.runs, claims, command, lock)
    except BrokenPipeError:
        raise  # The runs have saved; `cli.main` reports the error.
    except (
        errors.StudyError,
        claims_errors.ClaimsError,
        records.RecordError,
        fit_errors.FitError,
        inference_errors.InferenceError,
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
    options: argparse.Namespace,
    planned: Sequence[plan.PlannedRun],
    claims: claims_file.ClaimsFile | None,
    command: str,
    lock: int,
) -> int:
    """Runs the study, with the folder's lock held; returns the exit code."""
    started = time.monotonic()
    settings = _settings(options, planned)
    folder.check_settings(options.out, settings)
    kept = record_folder.path_of(options)
    if kept is not None:
        folder.check_settings(kept, settings, "--records")
    source_lib.check_downstream(options.study.protocol)
    source = _source(options)
    (data_hash, *_) = source_lib.hashes(options.study.protocol, source).values()
    rated = run_rates.rate(options.study, planned, options.out, data_hash)
    if restored := record_folder.restore(options):
        print(f"{restored} runs restored from {kept}")
    work = phases.pretrainings(options, rated.runs, source)
    for remark in rated.remarks:
        print(f"Note: {remark}.")
    for model, note in options.study.notes.items():
        if any(run.model == model for run in rated.runs):
            print(f"Note: {model}: {note}.")
    done = sum(one.finished for one in work)
    print(f"{len(work)} runs: {done} already finished, {len(work) - done} to do")
    if claims is not None:
        _copy_claims(claims, options.out)
    passes = {run.name: run.pass_number or 1 for run in rated.runs}
    folder.write_settings(options.out, command, settings, passes, options.study.notes)
    record_folder.keep_all(options)
    outcome = _Outcome()
    parts: Sequence[Sequence[plan.PlannedRun]] = [rated.runs]
    deadline = None
    if options.max_hours is not None:
        parts = passes_lib.split(rated.runs)
        deadline = started + 3600 * options.max_hours
    for part in parts:
        _carry_out_part(options, part, source, lock, deadline, outcome)
        if outcome.ended or (outcome.failed and not options.keep_going):
            break
    if outcome.interrupted:
        print(f"Stopped. To resume:\n  {command}")
        return exit_codes.STOPPED
    if any(folder.has_finished(phases.run_folder(options, r)) for r in rated.runs):
        print(summary.render(build.build(options.out)))
    standing = passes_lib.of_folder(options.out)
    if standing.diverged or options.max_hours is not None:
        print(standing.told)
    if outcome.failed:
        print(f"Failed: {', '.join(outcome.failed)}", file=sys.stderr)
        return exit_codes.FAILED
    if outcome.unfinished or outcome.ended:
        print(f"There is work left. To resume:\n  {command}")
        return exit_codes.STOPPED
    return exit_codes.DONE


@dataclasses.dataclass
class _Outcome:
    """What has happened so far."""

    failed: list[str] = dataclasses.field(default_factory=list)
    unfinished: int = 0
    interrupted: bool = False
    over_time: bool = False

    @property
    def ended(self) -> bool:
        return self.interrupted or self.over_time


def _carry_out_part(
    options: argparse.Namespace,
    runs: Sequence[plan.PlannedRun],
    source: str,
    lock: int,
    deadline: float | None,
    outcome: _Outcome,
) -> None:
    """Pretrains, fine-tunes and scores some of the runs; adds to the outcome."""
    for title, steps, work in _phases(options, runs, source):
        pending = [one for one in work if not one.finished]
        if title is not None and work:
            done = len(work) - len(pending)
            print(f"{len(work)} {title}: {done} already finished, {len(pending)} to do")
        if not pending:
            continue
        state = carrying.carry_out(options, pending, steps, lock, deadline)
        folders = {one.name: one.folder for one in pending}
        for name, path in folders.items():
            code = state.exit_codes.get(name)
            if code == exit_codes.DONE or carrying.has_diverged(path):
                continue
            outcome.unfinished += 1
            if name in state.failed:
                outcome.failed.append(name)
        outcome.interrupted |= state.interrupted and outcome.unfinished > 0
        outcome.over_time |= state.over_time
        if outcome.ended or (outcome.failed and not options.keep_going):
            return


def _phases(
    options: argparse.Namespace, runs: Sequence[plan.PlannedRun], source: str
) -> Iterator[tuple[str | None, int, list[phases.RunCommand]]]:
    """Yields each phase: what its commands are called, their steps, and they.

    Those of a phase follow from the runs that the phases before have finished.
    """
    protocol = options.study.protocol
    yield None, protocol.train_steps, phases.pretrainings(options, runs, source)
    for tuning in protocol.finetunings:
        named = "" if tuning.name == protocol_lib.FINETUNING else f" {tuning.name}"
        work = phases.finetunings(options, runs, source, tuning)
        yield f"fine-tunings{named}", tuning.settings.train_steps, work
    scorings = phases.scorings(options, runs, source)
    yield "few-shot evaluations", protocol.train_steps, scorings


def _settings(
    options: argparse.Namespace, runs: Sequence[plan.PlannedRun]
) -> dict[str, object]:
    """Returns what all runs of the folder share, for study.json."""
    study, first = options.study, runs[0]
    shared = {
        "schedule.learning_rate": first.fixed_rate,
        "study.rate_table": first.rate_table,
        "study.claims": first.claims,
        "design.margin": study.margin,
        # Folders of earlier versions don't say that they are not a pilot's.
        "study.role": None if study.role == plan.FINAL else study.role,
    }
    given = {key: value for key, value in shared.items() if value is not None}
    if study.protocol.of_images:
        given |= study.protocol.fewshot.settings()
    return study.protocol.settings() | given


def _plan(options: argparse.Namespace) -> list[plan.PlannedRun]:
    """Returns the planned runs with canonical names; raises ConfigError on bad ones."""
    named = {}
    for run in options.study.runs:
        try:
            model = registry.parse(run.model).canonical
            phases.count(options, model)
        except ValueError as error:
            raise train_errors.ConfigError(f"{run.model}: {error}") from error
        renamed = dataclasses.replace(run, model=model)
        named.setdefault(renamed.name, renamed)
    return list(named.values())


def _claims(options: argparse.Namespace) -> claims_file.ClaimsFile | None:
    study = options.study
    if study.claims is None:
        return None
    try:
        claims = claims_file.run(claims_file.read(study.claims))
    except claims_errors.ClaimsError as error:
        raise train_errors.ConfigError(f"config.claims: {error}") from error
    if study.margin is not None and claims.margin not in (None, study.margin):
        raise train_errors.ConfigError(
            f"config.design.margin: got {study.margin}, but MARGIN_NATS in "
            f"{study.claims} is {claims.margin}; accepted: one margin, or none here"
        )
    return claims


def _source(options: argparse.Namespace) -> str:
    return source_lib.ensure(options.study.protocol, options.study.store)


def _copy_claims(claims: claims_file.ClaimsFile, out: pathlib.Path) -> None:
    """Copies the claims to the study's folder, where the report finds them."""
    copy = out / claims_file.FILE_NAME
    if copy.resolve() != claims.path.resolve():
        shutil.copyfile(claims.path, copy)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
