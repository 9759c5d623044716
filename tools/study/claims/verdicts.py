"""Judges the claims of a study by its finished runs."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any

from clinometer.tools.report import records
from clinometer.tools.study import passes
from clinometer.tools.study import shapes
from clinometer.tools.study.claims import claim as claim_lib
from clinometer.tools.study.claims import errors
from clinometer.tools.study.claims import file as file_lib
from clinometer.tools.study.claims import observed
from clinometer.train.run import recorded_config


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
    def told(self) -> str:
        """One line: the outcome, the claim, its numbers and the reason."""
        verdict = self.verdict
        numbers = ", ".join(f"{k} {v:.4g}" for k, v in verdict.numbers.items())
        more = "; ".join(part for part in (numbers, verdict.reason) if part)
        told = f"{verdict.outcome}: {self.claim.statement}"
        return f"{told} ({more})" if more else told


def judge(claims: file_lib.ClaimsFile, runs: observed.Runs) -> list[Judged]:
    """Returns the verdict of each claim.

    Args:
        claims: the claims.
        runs: the final runs of the complete passes.

    Raises:
        ClaimsError: a claim names an unknown metric, raises an error or returns
            something else than a verdict; the message names the claim.
    """
    judged = []
    for claim in claims.claims:
        place = f"{claims.path}: claim {claim.name!r}"
        try:
            verdict = claim.judge(runs)
        except observed.UndecidableError as reason:
            verdict = claim_lib.Verdict(claim_lib.Outcome.UNDECIDED, reason=str(reason))
        except errors.ClaimsError as error:
            raise errors.ClaimsError(f"{place}: {error}") from error
        except Exception as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise errors.ClaimsError(f"{place}: {said}") from error
        if not isinstance(verdict, claim_lib.Verdict):
            raise errors.ClaimsError(
                f"{place}: returned {type(verdict).__name__}; accepted: Verdict"
            )
        judged.append(Judged(claim, verdict))
    return judged


def of_folder(
    directory: pathlib.Path,
    runs: Sequence[records.Run],
    rows: Sequence[Mapping[str, Any]],
) -> list[Judged]:
    """Returns the verdicts for the runs of a study's folder; none without claims.

    Claims use the final runs of the complete passes.

    Args:
        directory: the study's folder, with a copy of the claims if it has any.
        runs: its runs.
        rows: rows of the table of runs; `run` is the name.

    Raises:
        ClaimsError: see `judge`, `file.load` and `file.check_runs`.
    """
    path = directory / file_lib.FILE_NAME
    claims = file_lib.load(path) if path.is_file() else None
    file_lib.check_runs(runs, claims)
    if claims is None:
        return []
    by_name = {row["run"]: row for row in rows}
    complete = passes.of_folder(directory).complete
    used = [
        observe(run, by_name[run.name])
        for run in runs
        if run.record.study.role == recorded_config.FINAL
        and (run.record.finished or run.record.diverged)
        and (run.record.study.pass_number or 0) <= complete
    ]
    return judge(claims, observed.Runs(used))


def observe(run: records.Run, row: Mapping[str, Any]) -> observed.Run:
    """Returns a run as claims see it.

    Args:
        run: the run.
        row: its row of the table of runs.
    """
    record = run.record
    shape = shapes.of(record.model)
    return observed.Run(
        name=run.name,
        architecture=shape.architecture,
        width=shape.width,
        order=record.config.data.data_order,
        seed=record.seed,
        diverged=record.diverged,
        # A column with text in any run is no metric.
        values={
            k: v for k, v in row.items() if not isinstance(v, str | Mapping | bool)
        },
    )
