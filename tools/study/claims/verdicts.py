"""Judges the claims of a study by its finished runs."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

from clinometer.data import paths
from clinometer.tools.fit import comparable
from clinometer.tools.inference import errors as inference_errors
from clinometer.tools.report import copies
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import study_fit
from clinometer.tools.study import folder
from clinometer.tools.study import passes
from clinometer.tools.study.claims import claim as claim_lib
from clinometer.tools.study.claims import errors
from clinometer.tools.study.claims import file as file_lib
from clinometer.tools.study.claims import observed
from clinometer.train.run import directory as run_directory
from clinometer.train.run import recorded_config

PARTS = "parts"  # The folder of a study's parts, each a study's folder.


@dataclasses.dataclass(frozen=True)
class Judged:
    """A claim with its verdict.

    Attributes:
        claim: the claim.
        verdict: its verdict.
    """

    claim: claim_lib.Claim
    verdict: claim_lib.Verdict

    @property
    def supported(self) -> bool:
        """Whether the runs support the claim."""
        return self.verdict.outcome == claim_lib.Outcome.SUPPORTED

    @property
    def numbers(self) -> str:
        """What the outcome was decided by, such as "gain 0.142"."""
        return ", ".join(self.verdict.shown)

    @property
    def told(self) -> str:
        """One line: the outcome, the claim, its numbers and the reason."""
        verdict = self.verdict
        more = "; ".join(part for part in (self.numbers, verdict.reason) if part)
        told = f"{verdict.outcome}: {self.claim.statement}"
        return f"{told} ({more})" if more else told


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What a study's folder says about its claims.

    Attributes:
        claims: the claims with their verdicts; none if there are none.
        margin: the margin that the file of claims commits to, nats, or None.
        warnings: sentences.
    """

    claims: tuple[Judged, ...] = ()
    margin: float | None = None
    warnings: tuple[str, ...] = ()


def judge(claims: file_lib.ClaimsFile, runs: observed.Runs) -> list[Judged]:
    """Returns the verdict of each claim.

    A claim that names an unknown metric, raises an error or returns something else than
    a verdict is undecided, and its reason says so: the file cannot be mended after the
    runs, and the other claims should not be lost.

    Args:
        claims: the claims.
        runs: the final runs of the complete passes.
    """
    judged = []
    for claim in claims.claims:
        try:
            verdict = claim.judge(runs)
            if not isinstance(verdict, claim_lib.Verdict):
                raise errors.ClaimsError(
                    f"returned {type(verdict).__name__}; accepted: Verdict"
                )
        except (observed.UndecidableError, inference_errors.InferenceError) as reason:
            verdict = _undecided(str(reason))
        except errors.ClaimsError as error:
            verdict = _undecided(f"the claim failed: {error}")
        except (Exception, SystemExit) as error:
            verdict = _undecided(f"the claim failed: {type(error).__name__}: {error}")
        judged.append(Judged(claim, verdict))
    return judged


def _undecided(reason: str) -> claim_lib.Verdict:
    return claim_lib.Verdict(
        claim_lib.Outcome.UNDECIDED, reason=" ".join(reason.split())
    )


def of_folder(
    directory: paths.AnyPath,
    runs: Sequence[records.Run],
    rows: Sequence[Mapping[str, Any]],
) -> Judgement:
    """Judges the claims of a study's folder.

    They use the final runs of the complete passes. The folder's file of claims is code:
    it is run only if its hash is the one in the records of the final runs. A folder in
    `parts/` is a part of a study, which is judged in the study's folder.

    Args:
        directory: the study's folder, with a copy of the claims if it has any.
        runs: its runs.
        rows: rows of the table of runs; `run` is the name.

    Raises:
        ClaimsError: see `file.read`, `file.run` and `file.check_runs`.
        RecordError: a record of a part cannot be read.
        StudyError: study.json, which has the passes, cannot be read.
    """
    path = directory / file_lib.FILE_NAME
    source = file_lib.read(path) if paths.is_file(path) else None
    if not file_lib.check_runs(runs, source):
        if source is None:
            return Judgement()
        told = f"{file_lib.FILE_NAME} is not used: no final run was made for it"
        return Judgement(warnings=(told,))
    if paths.resolved(directory).parent.name == PARTS:
        told = (
            "this is a part of a study; its runs decide no claims alone, but in the "
            "report of the study's folder"
        )
        return Judgement(warnings=(told,))
    claims = file_lib.run(source)
    used = _used(directory, runs, rows)
    parts = {
        path.name: _part(path, source, rows)
        for path in sorted(directory.glob(f"{PARTS}/*"))
        if any(
            run_directory.RunDirectory(run).has_record for run in path.glob("runs/*")
        )
    }
    if used:
        judged = judge(claims, observed.Runs(used, parts))
        return Judgement(tuple(judged), claims.margin)
    reason = f"no pass of {folder.SETTINGS} is complete, or it lists other runs"
    undecided = [Judged(claim, _undecided(reason)) for claim in claims.claims]
    return Judgement(tuple(undecided), claims.margin)


def _part(
    directory: paths.AnyPath,
    source: file_lib.Source,
    study_rows: Sequence[Mapping[str, Any]],
) -> observed.Part:
    """Reads a part of a study; `study_rows` is the table of the study's own runs."""
    runs = records.load_runs(directory)
    file_lib.check_runs(runs, source)
    rows = copies.mark([rows_lib.make_row(run) for run in runs])
    used = _used(directory, runs, rows)
    names = {run.name for run in used}
    compared = [*study_rows, *(row for row in rows if row["run"] in names)]
    finished = [row for row in compared if row["status"] == "finished"]
    scopes = (comparable.Scope.ALL, comparable.Scope.MODEL)
    found = comparable.differences(finished, scopes)
    return observed.Part(
        observed.Runs(used), frozenset(one.field.column for one in found)
    )


def _used(
    directory: paths.AnyPath,
    runs: Sequence[records.Run],
    rows: Sequence[Mapping[str, Any]],
) -> list[observed.Run]:
    """Returns the final runs of the complete passes, each once."""
    by_name = {row["run"]: row for row in rows}
    complete = passes.of_folder(directory).complete
    return [
        observe(run, by_name[run.name])
        for run in runs
        if run.record.study.role == recorded_config.FINAL
        and (run.record.finished or run.record.diverged)
        and (run.record.study.pass_number or 0) <= complete
        and by_name[run.name]["copy_of"] is None
    ]


def observe(run: records.Run, row: Mapping[str, Any]) -> observed.Run:
    """Returns a run as claims see it.

    Args:
        run: the run.
        row: its row of the table of runs.
    """
    record = run.record
    return observed.Run(
        name=run.name,
        architecture=row["architecture"],
        width=row["d_model"],
        order=record.config.data.data_order,
        seed=record.seed,
        diverged=record.diverged,
        # A column with text in any run is no metric.
        values={
            k: v for k, v in row.items() if not isinstance(v, str | Mapping | bool)
        },
        inference=study_fit.as_run(row),
    )
