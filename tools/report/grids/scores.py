"""Tables of downstream scores: means, differences, and each fine-tuning."""

from collections.abc import Iterable
from collections.abc import Sequence

from clinometer.tools.report import downstream as downstream_lib
from clinometer.tools.report import downstream_cells
from clinometer.tools.report import formats
from clinometer.tools.report import score_names
from clinometer.tools.report.grids import grid
from clinometer.train.downstream import best_scores
from clinometer.train.downstream import crossed

Cell = grid.Cell


def _sorted(names: Iterable[best_scores.Name]) -> list[best_scores.Name]:
    """Returns the distinct names, each likelihood after its score."""
    return sorted(set(names), key=score_names.order)


def means(cells: Sequence[downstream_cells.Cell]) -> grid.Grid:
    """Returns the mean scores of each model over its seeds."""
    names = _sorted(name for cell in cells for name in cell.scores)
    heads = (
        "model",
        "mixture",
        "learning rate",
        "seeds",
        *map(score_names.label, names),
    )
    body = []
    for cell in cells:
        kind = " of fine-tuning one run" if cell.of_finetuning else ""
        seeds = f"{cell.seeds}{kind}" if cell.seeds != 1 else "1, error unknown"
        body.append(
            [
                grid.text(cell.model),
                grid.text(cell.mixture, wrap=True),
                Cell(f"{cell.learning_rate:g}", cell.learning_rate),
                Cell(seeds, cell.seeds),
                *(
                    _estimate(cell.estimate(name)) if name in cell.scores else Cell("–")
                    for name in names
                ),
            ]
        )
    return grid.make(
        "scores",
        "Mean downstream scores of each model over its seeds, in percent",
        heads,
        body,
        text_columns=(0, 1),
        archs=[cell.architecture for cell in cells],
        sortable=True,
        filtered=True,
    )


def differences(found: Sequence[downstream_cells.Difference]) -> grid.Grid:
    """Returns the differences of scores from the reference."""
    names = _sorted(name for difference in found for name in difference.estimates)
    heads = (
        "model",
        "less",
        "mixture",
        "learning rate",
        *map(score_names.label, names),
    )
    body = [
        [
            grid.text(one.model),
            grid.text(one.reference),
            grid.text(one.mixture, wrap=True),
            Cell(f"{one.learning_rate:g}", one.learning_rate),
            *(_estimate(one.estimates.get(name), signed=True) for name in names),
        ]
        for one in found
    ]
    return grid.make(
        "score_differences",
        "Differences of downstream scores from the reference",
        heads,
        body,
        text_columns=(0, 1, 2),
        archs=[one.model.partition("-")[0] for one in found],
        sortable=True,
        filtered=True,
    )


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


def finetunings(scores: Sequence[downstream_lib.FinetuningScore]) -> grid.Grid:
    """Returns the table of scores, with a column per task and metric."""
    names = _sorted(score.name for score in scores)
    groups: dict[
        tuple[str, str], dict[best_scores.Name, downstream_lib.FinetuningScore]
    ] = {}
    for score in scores:
        groups.setdefault((score.run, score.finetuning), {})[score.name] = score
    heads = (
        *("run", "fine-tuning", "from step", "learning rate", "seed"),
        *map(score_names.label, names),
    )
    body, archs = [], []
    for (run, finetuning), found in groups.items():
        one = next(iter(found.values()))
        step = one.pretraining_step
        cells = [
            grid.text(run),
            grid.text(finetuning),
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
        archs.append(one.architecture)
    majority = {score.name: score.majority for score in scores}
    if any(value is not None for value in majority.values()):
        cells = [
            Cell(
                formats.fixed(majority[name], 1),
                "" if majority[name] is None else majority[name],
            )
            for name in names
        ]
        body.append([grid.text("majority"), *[Cell("")] * 4, *cells])
        archs.append("")
    return grid.make(
        "finetunings",
        "Scores of each fine-tuning, in percent",
        heads,
        body,
        text_columns=(0, 1),
        archs=archs,
        sortable=True,
        filtered=True,
    )
