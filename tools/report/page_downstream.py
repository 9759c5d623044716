"""Renders the section of the report page about downstream scores."""

from collections.abc import Iterable
from collections.abc import Sequence
import html

from clinometer.tools.report import downstream as downstream_lib
from clinometer.tools.report import downstream_cells
from clinometer.tools.report import formats
from clinometer.tools.report import html_table
from clinometer.train.downstream import best_scores
from clinometer.train.downstream import crossed
from clinometer.train.downstream import likelihood

CAPTION = (
    "Scores after fine-tuning, in percent, against the validation loss before "
    "fine-tuning (lower losses to the right). Error bars: 95 % interval of the "
    "evaluation set’s sampling for each trained model, and of the fine-tunings’ seeds "
    "if there are several, without the error between pretrained runs. Dashed lines: "
    "majority-class baseline, the score of always predicting the most common target "
    "of the training set."
)
CAPTION_BY_STEP = (
    "The same scores, fine-tuned from several checkpoints of the pretraining."
)
_CELLS = (
    "Each task is scored at its best step. [a, b] is the 95 % interval of the mean "
    "over other seeds and other examples; (a, b) is that over other examples for the "
    f"trained model of a single seed: {crossed.UNKNOWN_SEEDS}. Only runs with the same "
    "settings of pretraining and fine-tuning are seeds of one another. Averages are "
    "those of the benchmarks, over tasks that all runs have."
)
_DIFFERENCES = (
    "Differences are paired by example. Their 95 % intervals, over other seeds and "
    "other examples, are not adjusted for the number of comparisons; (a, b) is over "
    f"other examples for these trained models only, {crossed.UNKNOWN_SEEDS}, and "
    "compares no architectures."
)
_LIKELIHOOD = (
    f"{likelihood.EXPLANATION.capitalize()}; like the score, at the step with the best "
    "score."
)
_ONE = (
    "Scores of each fine-tuning, with the 95 % interval of the sampling of the "
    "evaluation set (Wilson’s for a proportion) for this trained model."
)

Cell = html_table.Cell


def render(
    scores: Sequence[downstream_lib.FinetuningScore],
    cells: Sequence[downstream_cells.Cell],
) -> str:
    """Renders the tables of downstream scores.

    Args:
        scores: of all fine-tunings.
        cells: from `downstream_cells.cells`.
    """
    parts = []
    if any(score.metric == likelihood.METRIC for score in scores):
        parts.append(_note(_LIKELIHOOD))
    if cells:
        parts += [_note(_CELLS), _cells(cells)]
    if differences := downstream_cells.differences(cells):
        parts += [_note(_DIFFERENCES), _differences(differences)]
    return "".join([*parts, _note(_ONE), _finetunings(scores)])


def _sorted(names: Iterable[best_scores.Name]) -> list[best_scores.Name]:
    """Returns the distinct names by task, each likelihood after the task's score."""
    return sorted(set(names), key=str)


def _note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>'


def _cells(cells: Sequence[downstream_cells.Cell]) -> str:
    names = _sorted(name for cell in cells for name in cell.scores)
    heads = ("model", "mixture", "learning rate", "seeds", *map(str, names))
    body = []
    for cell in cells:
        kind = " of fine-tuning one run" if cell.of_finetuning else ""
        seeds = f"{cell.seeds}{kind}" if cell.seeds != 1 else "1, error unknown"
        body.append(
            [
                html_table.text(cell.model),
                html_table.text(cell.mixture),
                Cell(f"{cell.learning_rate:g}", cell.learning_rate),
                Cell(seeds, cell.seeds),
                *(
                    _estimate(cell.estimate(name)) if name in cell.scores else Cell("–")
                    for name in names
                ),
            ]
        )
    return html_table.table(heads, body, text_columns=(0, 1), sortable=True)


def _differences(found: Sequence[downstream_cells.Difference]) -> str:
    names = _sorted(name for difference in found for name in difference.estimates)
    heads = ("model", "less", "mixture", "learning rate", *map(str, names))
    body = [
        [
            html_table.text(one.model),
            html_table.text(one.reference),
            html_table.text(one.mixture),
            Cell(f"{one.learning_rate:g}", one.learning_rate),
            *(_estimate(one.estimates.get(name), signed=True) for name in names),
        ]
        for one in found
    ]
    return html_table.table(heads, body, text_columns=(0, 1, 2), sortable=True)


def _estimate(found: crossed.Estimate | None, signed: bool = False) -> Cell:
    if found is None:
        return Cell("–")
    show = (lambda x: formats.signed(x, 1)) if signed else (lambda x: f"{x:.1f}")
    shown = show(found.value)
    if found.interval is not None:
        shown += f" [{', '.join(map(show, found.interval))}]"
        if found.unknown is not None:
            shown += " on these examples"
    elif found.items_interval is not None:
        shown += f" ({', '.join(map(show, found.items_interval))})"
    return Cell(shown, found.value)


def _finetunings(scores: Sequence[downstream_lib.FinetuningScore]) -> str:
    """Renders the sortable table of scores, with a column per task and metric."""
    names = _sorted(score.name for score in scores)
    groups: dict[
        tuple[str, str], dict[best_scores.Name, downstream_lib.FinetuningScore]
    ] = {}
    for score in scores:
        groups.setdefault((score.run, score.finetuning), {})[score.name] = score
    heads = (
        *("run", "fine-tuning", "from step", "learning rate", "seed"),
        *map(str, names),
    )
    body = []
    for (run, finetuning), found in groups.items():
        one = next(iter(found.values()))
        step = one.pretraining_step
        cells = [
            html_table.text(run),
            html_table.text(finetuning),
            Cell("scratch" if step is None else str(step), step or 0),
            Cell(f"{one.learning_rate:g}", one.learning_rate),
            Cell(str(one.seed), one.seed),
        ]
        for name in names:
            if name not in found:
                cells.append(Cell("–"))
                continue
            score, interval = found[name].score, found[name].interval
            cells.append(Cell(formats.with_interval(score, interval), score))
        body.append(cells)
    majority = {score.name: score.majority for score in scores}
    if any(value is not None for value in majority.values()):
        cells = [
            Cell(
                formats.fixed(majority[name], 1),
                "" if majority[name] is None else majority[name],
            )
            for name in names
        ]
        body.append([html_table.text("majority"), *[Cell("")] * 4, *cells])
    return html_table.table(heads, body, text_columns=(0, 1), sortable=True)
