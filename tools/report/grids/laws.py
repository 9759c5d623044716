"""Tables of the papers' slopes and laws, of their held-out errors, and of claims."""

from collections.abc import Iterable
from collections.abc import Sequence

from clinometer.tools.laws import alphas
from clinometer.tools.laws import equation_one
from clinometer.tools.laws import frontiers
from clinometer.tools.laws import left_out
from clinometer.tools.laws import surfaces
from clinometer.tools.report import formats
from clinometer.tools.report import score_names
from clinometer.tools.report import theme
from clinometer.tools.report.grids import grid
from clinometer.tools.study.claims import papers

Cell = grid.Cell
UNITS = {
    "F,U": "nats per tenfold F",
    "F,D": "per tenfold F",
    "P,U": "nats per tenfold P",
    "P,D": "per tenfold P",
    "U,D": "per nat",
}


def five(name: str, found: Sequence[alphas.Alpha]) -> grid.Grid:
    """Returns the papers' five slopes, a row per architecture.

    Args:
        name: of the table.
        found: the slopes.
    """
    names = list(dict.fromkeys(one.architecture for one in found))
    looks = theme.looks(names)
    by_pair = {(one.architecture, one.pair): one for one in found}
    return grid.make(
        name,
        "The five slopes of Tay et al. 2022",
        ("Architecture", *((f"α {pair}", UNITS[pair]) for pair in alphas.PAIRS)),
        [
            [
                grid.architecture(arch),
                *(slope(by_pair[arch, pair]) for pair in alphas.PAIRS),
            ]
            for arch in looks
        ],
        archs=list(looks),
        sortable=True,
    )


def missing_slopes(found: Sequence[alphas.Alpha]) -> list[str]:
    """Returns why slopes, or their intervals, are missing: once for each reason."""
    reasons: dict[str, list[str]] = {}
    for one in found:
        if one.reason:
            name = f"{theme.label(one.architecture)} {one.pair}"
            reasons.setdefault(one.reason, []).append(name)
    return [
        f"{', '.join(names) if len(names) < len(found) else 'all'}: {reason}"
        for reason, names in reasons.items()
    ]


def slope(one: alphas.Alpha) -> Cell:
    """Returns a slope with its interval."""
    if one.slope is None:
        return Cell("–")
    reach = ""
    if one.low is not None:
        told = formats.interval(one.low, one.high)
        reach = f"[{told}]" if one.interval_of == "runs" else f"({told})"
    return Cell(formats.signed(one.slope), one.slope, error=reach)


def equation(name: str, found: Sequence[equation_one.Law]) -> grid.Grid:
    """Returns equation 1 of Tay et al. 2021 both ways, a row per law.

    Args:
        name: of the table.
        found: the laws.
    """
    looks = theme.looks(one.architecture for one in found)
    ordered = sorted(found, key=lambda one: list(looks).index(one.architecture))
    body = []
    for one in ordered:
        first = [grid.architecture(one.architecture), grid.text(one.way)]
        first += [grid.text(score_names.label(one.error))]
        first.append(Cell(str(one.points), one.points))
        if one.fit is None:
            body.append([*first, *[Cell("–")] * 5, Cell(one.reason or "", wrap=True)])
            continue
        steep, flat = (formats.signed(value, 3) for value in one.fit.interval)
        between = f"exponent from {steep} to {flat}"
        if not one.fit.determined:
            why = "reaches an end of its range" if one.fit.at_bound else "too wide"
            told = Cell(f"not determined ({between}: {why})", wrap=True)
            body.append([*first, *[Cell("–")] * 4, _r2(one.fit.r_squared), told])
            continue
        body.append(
            [
                *first,
                Cell(f"{one.fit.coefficient:.4g}", one.fit.coefficient),
                Cell(formats.signed(one.fit.exponent, 4), one.fit.exponent),
                Cell(f"{one.fit.floor:.3f}", one.fit.floor),
                Cell(f"{one.fit.rmse:.4f}", one.fit.rmse),
                _r2(one.fit.r_squared),
                Cell(between, wrap=True),
            ]
        )
    heads = ("Architecture", "way", "error", "sizes", "N_c", "exponent", "floor")
    return grid.make(
        name,
        "Equation 1 of Tay et al. 2021, both ways",
        (*heads, "RMSE", "R²", ""),
        body,
        text_columns=(0, 1, 2, 9),
        archs=[one.architecture for one in ordered],
        sortable=True,
    )


def _r2(value: float | None) -> Cell:
    return Cell(formats.fixed(value, 3), grid.key(value))


def surface(found: Sequence[surfaces.Surface]) -> grid.Grid:
    """Returns the laws of size and data, a row per architecture."""
    body = []
    for one in found:
        first = [grid.architecture(one.architecture)]
        first.append(Cell(str(one.points), one.points))
        if one.law is None:
            body.append([*first, *[Cell("–")] * 3, Cell(one.reason or "", wrap=True)])
            continue
        agrees = "the check agrees" if one.agrees else "the check disagrees"
        body.append(
            [
                *first,
                *(
                    _constant(one, name)
                    for name in ("size_exponent", "data_exponent", "floor")
                ),
                Cell(agrees, wrap=True),
            ]
        )
    heads = ("Architecture", "points", "size exponent", "data exponent", "floor", "")
    return grid.make(
        "size_and_data",
        "Laws of size and data",
        heads,
        body,
        text_columns=(0, 5),
        archs=[one.architecture for one in found],
    )


def _constant(one: surfaces.Surface, name: str) -> Cell:
    low, high = getattr(one.law, f"{name}_interval") or (None, None)
    reach = "" if low is None else f"[{low:.3g}, {high:.3g}]"
    if name in one.law.not_determined:
        return Cell("not determined", error=reach)
    value = getattr(one.law, name)
    return Cell(f"{value:.3g}", value, error=reach)


def best_sizes(found: Sequence[surfaces.Surface]) -> grid.Grid:
    """Returns the best sizes at measured budgets of training FLOPs."""
    rows = [(one, best) for one in found for best in one.optima]
    return grid.make(
        "best_sizes",
        "Best sizes at equal training FLOPs",
        ("Architecture", "training FLOPs", "best size", "tokens", ("loss", "nats"), ""),
        [
            [
                grid.architecture(one.architecture),
                Cell(formats.si(best.flops), best.flops),
                Cell(formats.si(best.size), grid.key(best.size)),
                Cell(formats.si(best.tokens), grid.key(best.tokens)),
                Cell(formats.fixed(best.loss, 3), grid.key(best.loss)),
                Cell(best.reason or "", wrap=True),
            ]
            for one, best in rows
        ],
        text_columns=(0, 5),
        archs=[one.architecture for one, _ in rows],
    )


def held_out(
    name: str, found: Iterable[left_out.LeftOut], x: str = surfaces.FLOPS
) -> grid.Grid:
    """Returns what laws of the loss said of sizes that they had not seen.

    Args:
        name: of the table.
        found: from `left_out.of_frame`.
        x: column of the cost.
    """
    rows: dict[str, dict[str, left_out.LeftOut]] = {}
    for one in found:
        if one.target == "validation_loss_nats" and (
            one.x == x or one.law == left_out.SURFACE
        ):
            rows.setdefault(one.architecture, {})[one.law] = one
    laws = (left_out.LINE, left_out.POWER, left_out.SURFACE)
    looks = theme.looks(rows)
    body = []
    for arch in looks:
        first = next(iter(rows[arch].values()))
        body.append(
            [
                grid.architecture(arch),
                grid.text(first.model.partition("-")[2]),
                Cell(f"{10**first.distance:.2g}×", first.distance),
                Cell(f"{first.observed:.3f}", first.observed),
                *(_error(rows[arch].get(law)) for law in laws),
            ]
        )
    heads = ("Architecture", "asked for", "beyond", ("observed", "nats"))
    return grid.make(
        name,
        "Errors of laws at the largest size, which they had not seen",
        (*heads, *((law, "predicted less observed") for law in laws)),
        body,
        text_columns=(0, 1),
        archs=list(looks),
        sortable=True,
    )


def _error(one: left_out.LeftOut | None) -> Cell:
    if one is None:
        return Cell("–")
    if one.error is None:
        return Cell(one.reason or "–", wrap=True)
    reach = ""
    if one.low is not None:
        low, high = one.low - one.observed, one.high - one.observed
        reach = f"[{formats.interval(low, high)}]"
        reach += f" {one.verdict}" if one.verdict else ""
    return Cell(formats.signed(one.error), abs(one.error), error=reach)


def claims(name: str, found: Sequence[papers.JudgedAfterwards]) -> grid.Grid:
    """Returns the papers' claims with their verdicts, judged afterwards.

    Args:
        name: of the table.
        found: the claims.
    """
    body = [
        [
            grid.text(one.claim.statement, wrap=True),
            grid.text(one.claim.source),
            grid.text(one.verdict.outcome.value),
            Cell(
                theme.labelled(
                    "; ".join(
                        [f"{k} {v:.3g}" for k, v in one.verdict.numbers.items()]
                        + ([one.verdict.reason] if one.verdict.reason else [])
                    )
                ),
                wrap=True,
            ),
        ]
        for one in found
    ]
    return grid.make(
        name,
        "Claims of the papers, judged afterwards",
        ("Claim", "of", "these runs", "by"),
        body,
        text_columns=(0, 1, 2, 3),
        sortable=True,
    )


def efficient(name: str, found: Sequence[frontiers.Efficiency]) -> grid.Grid:
    """Returns the models by the rule of Tay et al. 2021.

    Args:
        name: of the table.
        found: from `frontiers.efficient`.
    """
    body = [
        [
            grid.text(one.runs[0] if one.runs else one.model),
            grid.text("on a frontier" if one.efficient else "on none"),
            Cell(
                "; ".join(_pairs(one.on)) or "–",
                wrap=True,
            ),
            Cell(
                "–" if one.probability is None else f"{100 * one.probability:.0f} %",
                grid.key(one.probability),
            ),
        ]
        for one in found
    ]
    return grid.make(
        name,
        "Models by the rule of Tay et al. 2021",
        ("Model", "", "frontiers", "largest probability"),
        body,
        text_columns=(0, 1, 2),
        archs=[one.model.partition("-")[0] for one in found],
        sortable=True,
    )


_COSTS = {
    frontiers.PARAMS: "parameters",
    frontiers.FLOPS: "multiply-adds",
    frontiers.SPEED: "speed",
}


def _pairs(on: Iterable[tuple[str, str]]) -> list[str]:
    by_cost: dict[str, list[str]] = {}
    for cost, quality in on:
        by_cost.setdefault(_COSTS[cost], []).append(score_names.label(quality))
    return [f"{cost}: {', '.join(tasks)}" for cost, tasks in by_cost.items()]
