"""Claims of the papers as code, judged on any frame of runs.

They are judged afterwards: nobody committed to them before these runs, unlike a study's
own claims, whose hash is in its runs' records. A claim is supported or contradicted
only by differences that exceed their 95 % intervals, with Bonferroni's correction where
it rests on several; where the error between runs is unknown it is undecided, and its
numbers are given all the same.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import functools

import pandas as pd

from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.inference import errors as inference_errors
from clinometer.tools.laws import alphas
from clinometer.tools.results import errors as results_errors
from clinometer.tools.results import table
from clinometer.tools.study.claims import claim as claim_lib
from clinometer.tools.study.claims import observed

PAPER_A, PAPER_B = "Tay et al. 2022", "Tay et al. 2021"


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """Runs that claims are judged on, with the slopes fitted to them once.

    Attributes:
        frame: a frame of runs.
        score: column of the downstream score; None if no run has one.
        mixed: columns of `fit/comparable.py` in which the runs may differ.
    """

    frame: pd.DataFrame
    score: str | None
    mixed: tuple[str, ...] = ()

    @functools.cached_property
    def alphas(self) -> tuple[alphas.Alpha, ...]:
        """The five slopes of every architecture."""
        return tuple(alphas.fit_all(self.frame, self.score, mixed=self.mixed))


def evidence(
    frame: pd.DataFrame, score: str | None = None, mixed: Sequence[str] = ()
) -> Evidence:
    """Returns runs as evidence for claims.

    Args:
        frame: a frame of runs.
        score: column of the downstream score; by default `alphas.score_column`.
        mixed: columns of `fit/comparable.py` in which the runs may differ.

    Raises:
        FitError: the runs differ in another condition.
    """
    table.check_comparable(frame, mixed)
    return Evidence(frame, score or alphas.score_column(frame), tuple(mixed))


@dataclasses.dataclass(frozen=True)
class PaperClaim:
    """A claim of a paper.

    Attributes:
        name: a short unique name.
        statement: the claim, as a sentence.
        source: the paper.
        judge: returns the verdict on the runs. It may raise
            `observed.UndecidableError`.
    """

    name: str
    statement: str
    source: str
    judge: Callable[[Evidence], claim_lib.Verdict]


@dataclasses.dataclass(frozen=True)
class JudgedAfterwards:
    """A claim of a paper with its verdict, judged after the runs.

    Attributes:
        claim: the claim.
        verdict: its verdict.
    """

    claim: PaperClaim
    verdict: claim_lib.Verdict

    @property
    def told(self) -> str:
        """One line: the outcome, that it is judged afterwards, and the numbers."""
        verdict = self.verdict
        numbers = ", ".join(verdict.shown)
        more = "; ".join(part for part in (numbers, verdict.reason) if part)
        told = (
            f"{verdict.outcome} (judged afterwards): {self.claim.statement} "
            f"[{self.claim.source}]"
        )
        return f"{told} ({more})" if more else told


def judge_all(claims: Sequence[PaperClaim], seen: Evidence) -> list[JudgedAfterwards]:
    """Judges claims on runs.

    Args:
        claims: such as `paper_a.CLAIMS` and `paper_b.CLAIMS`.
        seen: from `evidence`.
    """
    judged = []
    for claim in claims:
        try:
            verdict = claim.judge(seen)
        except (
            observed.UndecidableError,
            inference_errors.InferenceError,
            results_errors.ResultsError,
            fit_errors.FitError,
        ) as error:
            reason = " ".join(str(error).split())
            verdict = claim_lib.Verdict(claim_lib.Outcome.UNDECIDED, reason=reason)
        judged.append(JudgedAfterwards(claim, verdict))
    return judged
