"""The figures of a study's page: which there are, and what each says."""

from collections.abc import Mapping
import dataclasses
import functools
import re

from clinometer.data import paths
from clinometer.tools.report import costs
from clinometer.tools.report import figure
from clinometer.tools.report import score_names
from clinometer.tools.report import theme
from clinometer.tools.report.charts import by_step
from clinometer.tools.report.charts import curves
from clinometer.tools.report.charts import forest
from clinometer.tools.report.charts import frontier
from clinometer.tools.report.charts import held_out
from clinometer.tools.report.charts import multiple
from clinometer.tools.report.charts import others
from clinometer.tools.report.charts import ranks
from clinometer.tools.report.charts import residuals
from clinometer.tools.report.charts import scores
from clinometer.tools.report.charts import surface
from clinometer.tools.report.charts import timing
from clinometer.tools.report.tables import other_table
from clinometer.tools.report.tables import study_tables

Group = tuple[figure.Figure, ...]
# Where figures stand on the page.
PLACES = (
    *("differences", "compute", "frontier", "held_out", "surfaces", "downstream"),
    *("ranks", "by_step", "curves", "residuals", "timing", "others"),
)


def make(tables: study_tables.StudyTables) -> dict[str, Group]:
    """Returns the figures of each of `PLACES`; a place without data has none."""
    found: dict[str, Group] = {
        "differences": _differences(tables),
        "compute": _multiples(tables),
        "frontier": _frontiers(tables),
        "held_out": _held_out(tables),
        "surfaces": _surfaces(tables),
        "downstream": _scores(tables),
        "ranks": _ranks(tables),
        "by_step": _by_step(tables),
        "curves": _curves(tables),
        "residuals": (),
        "timing": (),
        "others": of_others(tables),
    }
    several = [run for run in tables["runs"] if run["residual"]]
    if several:
        text = "Residual of each run from the mean of its model, by size."
        draw = functools.partial(residuals.draw, tables)
        title = "Runs about the mean of their model"
        found["residuals"] = (figure.make("residuals", title, text, draw),)
    if any(run["spread"] is not None for run in tables["runs"]):
        text = "Interquartile range of the speed of each run over its median, by size."
        draw = functools.partial(timing.draw, tables)
        title = "Steadiness of timing"
        found["timing"] = (figure.make("timing", title, text, draw),)
    return found


def all_of(groups: Mapping[str, Group]) -> list[figure.Figure]:
    """Returns all figures of `make`, in the order of the page."""
    return [one for group in groups.values() for one in group]


def write(out: paths.AnyPath, groups: Mapping[str, Group]) -> None:
    """Writes all figures, in every format, to `figures/` below a folder."""
    paths.make_folder(out / "figures")
    for one in all_of(groups):
        for form, contents in one.files().items():
            paths.write_bytes(out / "figures" / f"{one.name}.{form}", contents)


def slug(name: str) -> str:
    """Returns a name as part of a file name: letters, digits, hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "x"


def _names(prefix: str, panels: list[str]) -> dict[str, str]:
    """Returns panel -> file name, with a number where two are written alike."""
    found: dict[str, str] = {}
    for panel in panels:
        name = f"{prefix}-{slug(panel)}"
        same = sum(other.startswith(name) for other in found.values())
        found[panel] = f"{name}-{same + 1}" if name in found.values() else name
    return found


def _differences(tables: study_tables.StudyTables) -> Group:
    others = [row for row in tables["architectures"] if row["diff"] is not None]
    if len(others) < 2:
        return ()
    told = "; ".join(f"{row['label']} {row['outcome_text']}" for row in others)
    return (
        figure.make(
            "differences",
            "What a tenfold of compute buys",
            f"Differences from vanilla with intervals: {told}. The numbers are in the "
            "table of differences.",
            functools.partial(forest.draw, tables),
            narrow=True,
        ),
    )


def _multiples(tables: study_tables.StudyTables) -> Group:
    rows = {row["arch"]: row for row in tables["architectures"]}
    present = {model["arch"] for model in tables["models"] if model["training_flops"]}
    panels = [name for name in tables.looks if name in present]
    names = _names("loss", panels)
    if not panels:
        return ()
    drawn = figure.make(
        "", "", "", functools.partial(multiple.draw, tables), narrow=True
    )
    made = []
    for arch in panels:
        row = rows[arch]
        label = row["label"]
        made.append(
            drawn.at(
                arch,
                name=names[arch],
                title=label,
                text=f"{label}: loss against training FLOPs, beside vanilla.",
                arch=arch,
                note="" if row["gain"] is None else f"{row['gain']:.3f}",
                emphasis="" if row["outcome"] in ("worse", "better") else "open",
            )
        )
    return tuple(made)


def _frontiers(tables: study_tables.StudyTables) -> Group:
    return tuple(
        figure.make(
            f"frontier-{slug(cost.key)}",
            cost.title,
            f"Validation loss against {cost.per}, with the Pareto frontier.",
            functools.partial(frontier.draw, tables, cost),
        )
        for cost in costs.COSTS
        if any(model[cost.key] is not None for model in tables["models"])
    )


def _held_out(tables: study_tables.StudyTables) -> Group:
    if not tables["held_out"]:
        return ()
    return (
        figure.make(
            "held-out",
            "Asked for the largest size, which the laws had not seen",
            "Predicted less observed loss of each architecture at its largest size, by "
            "a straight line and by a power law with a floor. The numbers are in the "
            "table of held-out errors.",
            functools.partial(held_out.draw, tables),
            narrow=True,
        ),
    )


def _surfaces(tables: study_tables.StudyTables) -> Group:
    panels = surface.names(tables)
    if not panels:
        return ()
    names = _names("size-and-data", panels)
    drawn = figure.make("", "", "", functools.partial(surface.draw, tables))
    return tuple(
        drawn.at(
            arch,
            name=names[arch],
            title=tables.looks[arch].label,
            text=f"{tables.looks[arch].label}: loss against training tokens, measured "
            "and by the law of size and data, a curve for each size.",
            arch=arch,
        )
        for arch in panels
    )


def _scores(tables: study_tables.StudyTables) -> Group:
    panels = scores.names(tables)
    names = _names("score", panels)
    return tuple(
        figure.make(
            names[panel],
            score_names.label(panel),
            f"Score on {score_names.label(panel)} after fine-tuning against validation "
            "loss.",
            functools.partial(scores.draw, tables, panel=panel),
            panel=panel,
        )
        for panel in panels
    )


def _ranks(tables: study_tables.StudyTables) -> Group:
    if not tables["ranks"]:
        return ()
    size = tables["ranks"][0]["size"]
    return (
        figure.make(
            "ranks",
            f"Ranks at {size}",
            f"Rank by loss beside rank by score of each architecture at {size}.",
            functools.partial(ranks.draw, tables),
        ),
    )


def of_others(tables: study_tables.StudyTables) -> Group:
    """Returns the figures of results of others beside the study's models."""
    panels = {row["panel"]: row for row in tables["others"]}
    names = _names("others", list(panels))
    # Marks of architectures that the study has not have shapes, too.
    wider = dataclasses.replace(
        tables,
        looks=theme.looks([*tables.looks, *(row["arch"] for row in tables["others"])]),
    )
    return tuple(
        figure.make(
            names[panel],
            title := other_table.title(row["axis"], row["quality"]),
            f"{title}, of published and imported results, and of these runs.",
            functools.partial(others.draw, wider, panel=panel),
            panel=panel,
        )
        for panel, row in panels.items()
    )


def _by_step(tables: study_tables.StudyTables) -> Group:
    panels = by_step.names(tables)
    names = _names("by-step", panels)
    return tuple(
        figure.make(
            names[panel],
            score_names.label(panel),
            f"Score on {score_names.label(panel)} by the pretraining step that was "
            "fine-tuned.",
            functools.partial(by_step.draw, tables, panel=panel),
            panel=panel,
        )
        for panel in panels
    )


def _curves(tables: study_tables.StudyTables) -> Group:
    panels = curves.panels(tables)
    if not panels:
        return ()
    names = _names("curves", panels)
    draw = functools.partial(curves.draw, tables)
    drawn = figure.make("", "", "", draw, narrow=True)
    return tuple(
        drawn.at(
            panel,
            name=names[panel],
            title=panel,
            text=f"Training loss by step at {panel}.",
        )
        for panel in panels
    )
