"""Implements `clinometer study`: trains a list of runs, then writes the report."""

import argparse
from collections.abc import Sequence
import dataclasses
import pathlib
import shlex
import shutil
import sys
import time

from clinometer.data import errors as data_errors
from clinometer.kernels import devices
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
from clinometer.tools.study import summary
from clinometer.tools.study import tune
from clinometer.tools.study.claims import errors as claims_errors
from clinometer.tools.study.claims import file as claims_file
from clinometer.tools.study.engines import choice
from clinometer.tools.study.power import command as power
from clinometer.train import errors as train_errors
from clinometer.train import exit_codes
from clinometer.train import sources


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    options = options_lib.parse(argv)
    command = shlex.join(["clinometer", "study", *argv])
    try:
        devices.check()
        runs = _plan(options)
        if options.power:
            claims = _claims(options)
            return power.run(options, runs, claims and claims.margin)
        if not options.dry_run:
            choice.check(options)
        if options.tune:
            with folder.locked(options.out) as lock:
                return tune.tune(options, runs, _store(options), command, lock)
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
    phases.check_downstream(options)
    store = _store(options)
    corpus_hash = phases.corpus_of(store)["corpus_hash"]
    rated = run_rates.rate(options.study, planned, options.out, corpus_hash)
    if restored := record_folder.restore(options):
        print(f"{restored} runs restored from {kept}")
    work = phases.pretrainings(options, rated.runs, store)
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
        _carry_out_part(options, part, store, lock, deadline, outcome)
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
    store: str,
    lock: int,
    deadline: float | None,
    outcome: _Outcome,
) -> None:
    """Pretrains and fine-tunes some of the runs; adds to the outcome."""
    protocol = options.study.protocol
    for tuning in (None, *protocol.finetunings):
        if tuning is None:
            work = phases.pretrainings(options, runs, store)
            steps = protocol.train_steps
        else:
            work = phases.finetunings(options, runs, store, tuning)
            steps = tuning.settings.train_steps
        pending = [one for one in work if not one.finished]
        if tuning is not None and work:
            done = len(work) - len(pending)
            named = "" if tuning.name == protocol_lib.FINETUNING else f" {tuning.name}"
            print(
                f"{len(work)} fine-tunings{named}: {done} already finished, "
                f"{len(pending)} to do"
            )
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


def _copy_claims(claims: claims_file.ClaimsFile, out: pathlib.Path) -> None:
    """Copies the claims to the study's folder, where the report finds them."""
    copy = out / claims_file.FILE_NAME
    if copy.resolve() != claims.path.resolve():
        shutil.copyfile(claims.path, copy)


def _store(options: argparse.Namespace) -> str:
    """Returns the path of the token store; creates the embedded one on first use."""
    # Imported here because it loads the packages that read and tokenize corpora.
    from clinometer.data.corpus import embedded

    protocol, given = options.study.protocol, options.study.store
    if protocol.kind == protocol_lib.PAPERS:
        if given is None:
            raise train_errors.ConfigError(
                "config.store: none; the papers' protocol needs a token store, which "
                "`clinometer tokenize` makes; give it with --store DIR"
            )
        size = sources.open_store(given, "--store").vocabulary.padded_size(128)
        if size != protocol.vocab_size:
            raise train_errors.ConfigError(
                f"config.protocol.vocab_size: {protocol.vocab_size}, but models on "
                f"{given} have {size}, its ids rounded up to a multiple of 128"
            )
    if given is not None:
        return str(given)
    return str(embedded.ensure_store(vocab_size=options.study.protocol.vocab_size))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
