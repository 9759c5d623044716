"""Tables of results of others, and of checks of published ones."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from clinometer.tools.laws import alphas
from clinometer.tools.laws import points
from clinometer.tools.laws import text_checks
from clinometer.tools.report import formats
from clinometer.tools.report import others
from clinometer.tools.report import score_names
from clinometer.tools.report.grids import grid
from clinometer.tools.report.grids import laws
from clinometer.tools.report.tables import other_table
from clinometer.tools.results import columns
from clinometer.tools.results import published
from clinometer.tools.results import table

Cell = grid.Cell
# Column, beside it in paler print as printed, heading.
_COUNTS = (
    ("params_total", "printed_params", ("Params", "computed (printed)")),
    (
        "papers_macs_forward_batch",
        "printed_macs_forward_batch",
        ("MACs", "computed (printed)"),
    ),
    ("training_flops", None, ("FLOPs", "training")),
)
MOST = 500  # Rows on the page; all are in the CSV files beside it.
_SPEED, _CHIPS = "steps_per_second_median", "device_training"


def rows(name: str, source: others.Source) -> grid.Grid:
    """Returns the rows of a source, marked as published or imported, up to `MOST`.

    Args:
        name: of the table.
        source: the source.
    """
    records = table.to_records(source.frame)[:MOST]
    tasks = columns.tasks(source.frame.columns)
    scores = [
        f"score_{task}"
        for task in tasks
        if any(row.get(f"score_{task}") is not None for row in records)
    ]
    counts = [c for c in _COUNTS if any(row[c[0]] is not None for row in records)]
    timed = any(row[_SPEED] is not None for row in records)
    measured = any(row[points.LOSS] is not None for row in records)
    body = [
        [
            grid.text(row["run"]),
            grid.text(row["model"]),
            grid.text("published" if row["published"] else "imported"),
            *(
                _count(row[column], printed and row[printed])
                for column, printed, _ in counts
            ),
            *([_speed(row)] if timed else []),
            *([_fixed(row[points.LOSS], 3)] if measured else []),
            *(_fixed(row.get(score), 2) for score in scores),
        ]
        for row in records
    ]
    heads = ("Run", "Model", "", *(head for _, _, head in counts))
    return grid.make(
        name,
        f"Results of {source.name}",
        (
            *heads,
            *([("Speed", "steps/s, chips")] if timed else []),
            *([("Loss", "nats")] if measured else []),
            *((score_names.label(score), "%") for score in scores),
        ),
        body,
        text_columns=(0, 1, 2),
        archs=[row["architecture"] for row in records],
        sortable=True,
        filtered=True,
    )


def _fixed(value: float | None, decimals: int) -> Cell:
    return Cell(formats.fixed(value, decimals), grid.key(value))


def _speed(row: Mapping[str, Any]) -> Cell:
    if row[_SPEED] is None:
        return Cell("–")
    chips = "" if row[_CHIPS] is None else f"on {row[_CHIPS]:g}"
    return Cell(f"{row[_SPEED]:g}", row[_SPEED], error=chips)


def _count(value: float | None, printed: float | None) -> Cell:
    told = "" if printed is None else f"({formats.si(printed)})"
    return Cell(formats.si(value), grid.key(value), error=told)


def slopes(sources: Sequence[others.Source]) -> grid.Grid:
    """Returns the five slopes of each source, and the published ones beside them."""
    groups = [
        (f"{one.name}: {of}", found)
        for one in sources
        for of, found in one.slopes
        if any(alpha.slope is not None for alpha in found)
    ]
    body, archs = [], []
    for of, found in groups:
        by_arch = dict.fromkeys(one.architecture for one in found)
        for arch in by_arch:
            own = {one.pair: one for one in found if one.architecture == arch}
            cells = [laws.slope(own[pair]) for pair in alphas.PAIRS]
            body.append([grid.architecture(arch), grid.text(of, wrap=True), *cells])
            archs.append(arch)
    printed: dict[str, dict[str, published.PublishedSlope]] = {}
    for one in published.slopes() if any(s.published for s in sources) else ():
        printed.setdefault(one.architecture, {})[one.pair] = one
    for arch, own in printed.items():
        source = next(iter(own.values())).source
        cells = [
            Cell(formats.signed(own[pair].slope, 2), own[pair].slope)
            if pair in own
            else Cell("–")
            for pair in alphas.PAIRS
        ]
        body.append(
            [grid.architecture(arch), grid.text(f"{source}; units not stated"), *cells]
        )
        archs.append(arch)
    return grid.make(
        "others_slopes",
        "The five slopes of the results of others",
        ("Architecture", "of", *((f"α {p}", laws.UNITS[p]) for p in alphas.PAIRS)),
        body,
        text_columns=(0, 1),
        archs=archs,
        sortable=True,
    )


def checks(sources: Sequence[others.Source]) -> grid.Grid:
    """Returns what published texts say of their own tables, with the ratios."""
    body = [
        [
            grid.text(check.statement, wrap=True),
            Cell(f"{check.stated:.3f}", check.stated),
            Cell(f"{check.computed:.3f}", check.computed),
            Cell(f"{check.printed:.3f}", check.printed),
            grid.text("holds" if check.holds else "does not hold"),
        ]
        for one in sources
        for check in one.checks
    ]
    within = f"within {text_checks.WITHIN:g}"
    return grid.make(
        "text_checks",
        "Statements of a text against its own table",
        ("Statement", "stated", "computed", "printed", ("", within)),
        body,
        text_columns=(0, 4),
    )


def notes(sources: Sequence[others.Source]) -> list[str]:
    """Returns what is said of each source in sentences."""
    told = []
    count = sum(len(one.frame) for one in sources)
    if count > min(MOST, other_table.MOST):
        told.append(
            f"There are {count:,} rows: a table shows the first {MOST} of its source, "
            f"and a figure about {other_table.MOST} and some on the frontiers."
        )
    for one in sources:
        if one.reason is not None:
            told.append(f"{one.name}: no laws are fitted: {one.reason}")
        if one.speeds is not None:
            told.append(
                f"{one.name}: on the {one.speeds.models} rows that ran on "
                f"{one.speeds.chips} chips, 1 / multiply-adds ranks the speeds with "
                f"Spearman’s {one.speeds.rank_correlation:.3f}; speed times "
                f"multiply-adds varies by {one.speeds.spread:.2f} from its 10th to "
                "its 90th percentile."
            )
        off = off_frontiers(one)
        if off:
            told.append(
                f"{one.name}: by the rule of Tay et al. 2021, which calls a model "
                "efficient if it stands on the frontier of parameters, multiply-adds "
                f"or speed for any downstream score, {', '.join(off)} "
                f"{'stands' if len(off) == 1 else 'stand'} on none."
            )
    return told


def off_frontiers(source: others.Source) -> list[str]:
    """Returns the models that stand on no downstream frontier."""
    if source.laws is None:
        return []
    off = [one.runs[0] for one in source.laws.efficient if not one.efficient]
    return [name.rpartition(": ")[2] for name in off]
