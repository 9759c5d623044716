"""What the card beside a mark says: a title, and pairs of a name and a value."""

from collections.abc import Mapping
from typing import Any

from clinometer.tools.report import formats
from clinometer.tools.report import score_names
from clinometer.tools.report.charts import axes
from clinometer.tools.report.tables import study_tables

Card = list[Any]  # The title, then pairs.
_DIFFERENCE = ("diff", "diff_lo", "diff_hi")


def make(tables: study_tables.StudyTables) -> dict[str, dict[str, Card]]:
    """Returns the cards of models, runs and architectures, by their keys."""
    return {
        "models": {model["key"]: _model(model) for model in tables["models"]},
        "runs": {run["id"]: _run(run) for run in tables["runs"]},
        "archs": {row["arch"]: _architecture(row) for row in tables["architectures"]},
    }


def _model(model: Mapping[str, Any]) -> Card:
    loss = f"{model['loss']:.3f}"
    if model["lo"] is not None:
        loss += f" [{model['lo']:.3f}, {model['hi']:.3f}]"
    card: Card = [
        f"{model['label']}, {model['size']}",
        ["loss", f"{loss} nats, {model['runs']} of {model['planned']} runs"],
    ]
    if model["training_flops"]:
        card.append(["FLOPs", axes.power(model["training_flops"])])
    if model["params_total"]:
        card.append(["parameters", formats.si(model["params_total"])])
    if model["train_steps"]:
        card.append(["training", f"{model['train_steps']:,} steps"])
    if model["steps_per_second"]:
        speed = formats.significant(model["steps_per_second"])
        card.append(["speed", f"{speed} steps/s"])
    if model["score"] is not None:
        name = score_names.label(model["score_name"])
        card.append([name, f"{model['score']:.1f} %"])
    return card


def _run(run: Mapping[str, Any]) -> Card:
    card: Card = [run["id"]]
    if run["loss"] is not None:
        card.append(["loss", f"{run['loss']:.3f} nats"])
        card.append(["from its mean", f"{formats.signed(run['residual'])} nats"])
    if run["spread"] is not None:
        card.append(["timing spread", f"{100 * run['spread']:.1f} %"])
    if run["flag"]:
        card.append(["", run["flag"]])
    return card


def _architecture(row: Mapping[str, Any]) -> Card:
    card: Card = [row["label"]]
    if row["gain"] is not None:
        gain = f"{row['gain']:.3f}"
        if row["gain_lo"] is not None:
            gain += f" [{row['gain_lo']:.3f}, {row['gain_hi']:.3f}]"
        card.append(["gain", f"{gain} nats per tenfold"])
    if row["diff_lo"] is not None:
        low, high = formats.signed(row["diff_lo"]), formats.signed(row["diff_hi"])
        card.append(
            ["less vanilla’s", f"{formats.signed(row['diff'])} [{low}, {high}]"]
        )
    if row["times_lo"] is not None:
        interval = f"[{row['times_lo']:.2g}, {row['times_hi']:.2g}]"
        card.append(["compute", f"×{row['times_text']} {interval}"])
    card.append(["outcome", row["outcome_text"]])
    return card
