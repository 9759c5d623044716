"""All laws of a frame of runs together, for reports and notebooks."""

from collections.abc import Sequence
import dataclasses

import pandas as pd

from clinometer.tools.laws import alphas
from clinometer.tools.laws import downstream
from clinometer.tools.laws import equation_one
from clinometer.tools.laws import frontiers
from clinometer.tools.laws import left_out
from clinometer.tools.laws import surfaces
from clinometer.tools.results import table
from clinometer.tools.study.claims import paper_a
from clinometer.tools.study.claims import paper_b
from clinometer.tools.study.claims import papers

CLAIMS = (*paper_a.CLAIMS, *paper_b.CLAIMS)


@dataclasses.dataclass(frozen=True)
class Laws:
    """What the runs of a frame say.

    Attributes:
        alphas: the five slopes of every architecture.
        printed_alphas: those against printed multiply-adds, of rows that have them.
        equation_one: equation 1 both ways.
        surfaces: the laws of size and data.
        tasks: the laws of scores, with their signal to noise.
        left_out: what every law said of the size that it had not seen.
        frontiers: Pareto frontiers per cost and quality.
        efficient: models by the rule of Tay et al. 2021; none without scores.
        claims: the papers' claims, judged afterwards.
    """

    alphas: tuple[alphas.Alpha, ...]
    printed_alphas: tuple[alphas.Alpha, ...]
    equation_one: tuple[equation_one.Law, ...]
    surfaces: tuple[surfaces.Surface, ...]
    tasks: tuple[downstream.Task, ...]
    left_out: tuple[left_out.LeftOut, ...]
    frontiers: tuple[frontiers.Frontier, ...]
    efficient: tuple[frontiers.Efficiency, ...]
    claims: tuple[papers.JudgedAfterwards, ...]


def of_frame(
    frame: pd.DataFrame, score: str | None = None, mixed: Sequence[str] = ()
) -> Laws:
    """Fits everything that the runs of a frame allow.

    Args:
        frame: a frame of runs.
        score: column of the downstream score; by default `alphas.score_column`.
        mixed: columns of `fit/comparable.py` in which the runs may differ.

    Raises:
        FitError: the runs differ in another condition.
    """
    table.check_comparable(frame, mixed)
    flops, params = alphas.PRINTED
    printed = ()
    if table.usable(frame, flops).shape[0]:
        printed = tuple(alphas.fit_all(frame, score, flops, params, mixed))
    all_frontiers = tuple(frontiers.of_frame(frame, mixed=mixed))
    return Laws(
        alphas=tuple(alphas.fit_all(frame, score, mixed=mixed)),
        printed_alphas=printed,
        equation_one=tuple(equation_one.fit_all(frame, score, mixed=mixed)),
        surfaces=tuple(surfaces.fit_all(frame, mixed=mixed)),
        tasks=tuple(downstream.fit_all(frame, mixed)),
        left_out=tuple(left_out.of_frame(frame, mixed)),
        frontiers=all_frontiers,
        efficient=tuple(frontiers.efficient(all_frontiers)),
        claims=tuple(papers.judge_all(CLAIMS, frame, mixed)),
    )
