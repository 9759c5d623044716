"""All laws of a frame of runs together, for reports and notebooks."""

from collections.abc import Sequence
import dataclasses
from typing import Any

import pandas as pd

from clinometer.tools.fit import comparable
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.laws import alphas
from clinometer.tools.laws import downstream
from clinometer.tools.laws import equation_one
from clinometer.tools.laws import frontiers
from clinometer.tools.laws import left_out
from clinometer.tools.laws import points
from clinometer.tools.laws import surfaces
from clinometer.tools.results import table
from clinometer.tools.study.claims import paper_a
from clinometer.tools.study.claims import paper_b
from clinometer.tools.study.claims import papers

MOST_MODELS = 400
CLAIMS = (*paper_a.CLAIMS, *paper_b.CLAIMS)


@dataclasses.dataclass(frozen=True)
class Laws:
    """What the runs of a frame say.

    The laws of runs of one length, all but `surfaces`, use the runs of one condition
    where the frame has several lengths: that with the most models, or else the longest.

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
        other_lengths: names of the runs that only `surfaces` uses.
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
    other_lengths: tuple[str, ...] = ()


def of_frame(
    frame: pd.DataFrame, score: str | None = None, mixed: Sequence[str] = ()
) -> Laws:
    """Fits everything that the runs of a frame allow.

    Args:
        frame: a frame of runs.
        score: column of the downstream score; by default `alphas.score_column`.
        mixed: columns of `fit/comparable.py` in which the runs may differ.

    Raises:
        FitError: the runs differ in another condition, other than their length, or are
            of too many models.
    """
    models = len(points.of_frame(frame, ()).points)
    if models > MOST_MODELS:
        raise fit_errors.FitError(
            f"there are runs of {models:,} models; accepted: up to {MOST_MODELS:,}, "
            "since claims and robust slopes compare all pairs of them. Choose some of "
            "them, or call a single law"
        )
    everything = frame
    frame, others = _of_one_length(frame, mixed)
    flops, params = alphas.PRINTED
    printed = ()
    if table.usable(frame, flops).shape[0]:
        printed = tuple(alphas.fit_all(frame, score, flops, params, mixed))
    seen = papers.evidence(frame, score, mixed)
    all_frontiers = tuple(frontiers.of_frame(frame, mixed=mixed))
    return Laws(
        alphas=seen.alphas,
        printed_alphas=printed,
        equation_one=tuple(equation_one.fit_all(frame, score, mixed=mixed)),
        surfaces=tuple(surfaces.fit_all(everything, mixed=mixed)),
        tasks=tuple(downstream.fit_all(frame, mixed)),
        left_out=tuple(left_out.of_frame(frame, mixed)),
        frontiers=all_frontiers,
        efficient=tuple(frontiers.efficient(all_frontiers)),
        claims=tuple(papers.judge_all(CLAIMS, seen)),
        other_lengths=others,
    )


def _of_one_length(
    frame: pd.DataFrame, mixed: Sequence[str]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Returns the runs of one condition, and the names of those of other lengths."""
    try:
        table.check_comparable(frame, mixed)
        return frame, ()
    except fit_errors.FitError:
        table.check_comparable(frame, (*surfaces.MIXED, *mixed))
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_records(table.usable(frame, points.LOSS)):
        groups.setdefault(comparable.key(row), []).append(row)
    chosen = max(
        groups.values(),
        key=lambda rows: (
            len({row["model"] for row in rows}),
            max(row["tokens_seen"] or 0 for row in rows),
        ),
    )
    names = {row["run"] for row in chosen}
    others = [row["run"] for rows in groups.values() for row in rows]
    others = tuple(name for name in others if name not in names)
    kept = frame[~frame["run"].isin(others)].reset_index(drop=True)
    table.check_comparable(kept, mixed)
    return kept, others
