"""The table of models: an architecture at a size, with its costs and its mean loss."""

from collections.abc import Mapping
from collections.abc import Sequence
import statistics
from typing import Any

from clinometer.tools.fit import comparable
from clinometer.tools.fit import pareto
from clinometer.tools.report import costs
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import selection
from clinometer.tools.report import theme
from clinometer.tools.report.tables import ladders
from clinometer.tools.report.tables import sources as sources_lib
from clinometer.train.downstream import best_scores
from clinometer.train.run import recorded_config

# Columns whose value is that of the runs' records, the same in all runs of a model.
_COUNTS = ("train_steps", "d_model", "params_total", "params_active", "flops_forward")


def of_run(rows: Sequence[rows_lib.Row]) -> dict[str, str]:
    """Returns run -> key of its model, such as "glu-pico".

    Models of one name under several conditions have numbers after it, such as
    "glu-pico (2)". Repetitions, sweeps and pilots of others belong to no model.

    Args:
        rows: rows of the table of runs, finished or not.
    """
    pilots = selection.all_are_pilots(rows)
    keys: dict[tuple, str] = {}
    names: dict[str, int] = {}
    found = {}
    for row in rows:
        aside = row["role"] == recorded_config.SWEEP
        aside |= row["role"] == recorded_config.PILOT and not pilots
        if aside or row["copy_of"] is not None:
            continue
        cell = comparable.cell(row)
        if cell not in keys:
            name = row["model"]
            names[name] = names.get(name, 0) + 1
            again = f" ({names[name]})" if names[name] > 1 else ""
            keys[cell] = f"{name}{again}"
        found[row["run"]] = keys[cell]
    return found


def make(sources: sources_lib.Sources) -> list[dict[str, Any]]:
    """Returns the models with a finished run, by architecture and training FLOPs.

    Columns: key, arch, label, size; ladder, the same for models that a line joins;
    alone, 1 for a model that none joins; train_steps; runs, planned (with those that
    did not finish);
    loss, lo and hi (95 %, None if unknown), nats per token; a column for each key of
    `costs.COSTS`, None where it is unknown; steps_per_second, the median of runs that
    are not noisy; front_KEY, 1 on the Pareto frontier of a cost, and chance_KEY, the
    probability of it, None if unknown; last, 1 at the dearest size of its architecture;
    score, the first of the benchmarks' averages, and score_name, which that is.
    """
    key_of = of_run(sources.rows)
    looks = theme.looks(row["architecture"] for row in sources.rows)
    groups: dict[str, list[rows_lib.Row]] = {}
    for row in selection.usable(sources.rows):
        groups.setdefault(key_of[row["run"]], []).append(row)
    planned = list(key_of.values())
    costs_of = _costs(sources, key_of)
    made = []
    for key, group in groups.items():
        first = group[0]
        loss, low, high = _loss(sources, group)
        timed = [
            row["steps_per_second_median"]
            for row in group
            if row["steps_per_second_median"] and not row["speed_noisy"]
        ]
        made.append(
            {
                "key": key,
                "arch": first["architecture"],
                "label": looks[first["architecture"]].label,
                "size": first["size"],
                "runs": len(group),
                "planned": planned.count(key),
                "loss": loss,
                "lo": low,
                "hi": high,
                "steps_per_second": statistics.median(timed) if timed else None,
                **{column: first[column] for column in _COUNTS},
                **costs_of[key],
                "score": None,
                "score_name": None,
            }
        )
    order = {name: i for i, name in enumerate(looks)}
    made.sort(key=lambda m: (order[m["arch"]], m["training_flops"] or 0, m["key"]))
    firsts = [groups[model["key"]][0] for model in made]
    found = ladders.of([(row["model"], row["comparability_key"]) for row in firsts])
    for model, ladder in zip(made, found, strict=True):
        model["ladder"] = ladder
        model["alone"] = int(found.count(ladder) == 1)
    _add_frontiers(made)
    _add_chances(made, sources, key_of)
    for model, following in zip(made, [*made[1:], None]):
        model["last"] = int(following is None or following["arch"] != model["arch"])
    _add_scores(made, sources, key_of)
    return made


def _costs(
    sources: sources_lib.Sources, key_of: Mapping[str, str]
) -> dict[str, dict[str, float | None]]:
    empty = {cost.key: None for cost in costs.COSTS}
    found = {key: dict(empty) for key in key_of.values()}
    for fit in sources.fits:
        for point in fit.points:
            found[key_of[point.rows[0]["run"]]][fit.cost.key] = point.cost
    return found


def _loss(
    sources: sources_lib.Sources, group: Sequence[rows_lib.Row]
) -> tuple[float, float | None, float | None]:
    """Returns the mean loss of a model's runs with its interval."""
    cell = sources.study.cell_of_run.get(group[0]["run"])
    if cell is None:
        loss = statistics.fmean(row["validation_loss_nats"] for row in group)
        return loss, None, None
    mean = sources.findings.sizes[cell].mean
    return mean.value, mean.low, mean.high


def _add_frontiers(models: Sequence[dict[str, Any]]) -> None:
    for cost in costs.COSTS:
        known = [model for model in models if model[cost.key] is not None]
        best = pareto.frontier(
            [model[cost.key] for model in known], [-model["loss"] for model in known]
        )
        for model in models:
            model[f"front_{cost.key}"] = 0
        for i in best:
            known[i][f"front_{cost.key}"] = 1


def _add_chances(
    models: Sequence[dict[str, Any]],
    sources: sources_lib.Sources,
    key_of: Mapping[str, str],
) -> None:
    known = {
        (one.cost, key_of.get(member.runs[0])): member.probability
        for one in sources.frontiers
        for member in one.members
    }
    for model in models:
        for cost in costs.COSTS:
            model[f"chance_{cost.key}"] = known.get((cost.column, model["key"]))


def _add_scores(
    models: Sequence[dict[str, Any]],
    sources: sources_lib.Sources,
    key_of: Mapping[str, str],
) -> None:
    """Adds the first average of the benchmarks that the rows have."""
    name = next(
        (
            row["downstream_average"]
            for row in sources.rows
            if row["downstream_average"]
        ),
        None,
    )
    if name is None:
        return
    score = best_scores.Name(name, best_scores.SCORE)
    by_key = {model["key"]: model for model in models}
    for cell in sources.cells:
        model = by_key.get(key_of.get(cell.runs[0], ""))
        if model is not None and score in cell.scores and model["score"] is None:
            model["score"] = cell.estimate(score).value
            model["score_name"] = name
