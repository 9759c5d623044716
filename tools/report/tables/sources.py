"""What the tables are made from: a folder of runs, read and analysed."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

from clinometer.tools.laws import frontiers as frontiers_lib
from clinometer.tools.laws import summary
from clinometer.tools.report import analysis
from clinometer.tools.report import downstream
from clinometer.tools.report import downstream_cells
from clinometer.tools.report import fewshot as fewshot_lib
from clinometer.tools.report import findings as findings_lib
from clinometer.tools.report import others as others_lib
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import study_fit
from clinometer.tools.study.claims import verdicts


@dataclasses.dataclass(frozen=True, eq=False)
class Sources:
    """A folder of runs, read and analysed. Nothing depends on the time or the folder.

    Attributes:
        rows: rows of the table of runs.
        metrics: run -> lines of its metrics.jsonl.
        claims: the claims with their verdicts.
        study: the model fitted to the runs.
        findings: what the study found.
        fits: straight lines against each cost.
        scores: downstream scores.
        cells: means of the downstream scores over seeds.
        lost: names of runs without a record.
        warnings: sentences to show.
        command: the command that started the study, if there is a study.
        laws: the papers' slopes and laws, asked for sizes they had not seen; None if
            they cannot be fitted, of which a warning tells.
        frontiers: of the loss, against each of `costs.COSTS`; none without laws.
        others: results of others, which stand in no fit of the runs.
        fewshot: few-shot accuracies of the runs on images.
    """

    rows: Sequence[rows_lib.Row]
    metrics: Mapping[str, Sequence[Mapping[str, Any]]]
    claims: Sequence[verdicts.Judged]
    study: study_fit.StudyFit
    findings: findings_lib.Findings
    fits: Sequence[analysis.CostFit]
    scores: Sequence[downstream.FinetuningScore]
    cells: Sequence[downstream_cells.Cell]
    lost: Sequence[str]
    warnings: Sequence[str]
    command: str | None
    laws: summary.Laws | None = None
    frontiers: Sequence[frontiers_lib.Frontier] = ()
    others: Sequence[others_lib.Source] = ()
    fewshot: Sequence[fewshot_lib.Score] = ()
