"""The table of architectures: their gains, and differences from the reference."""

from collections.abc import Mapping
from collections.abc import Sequence
import math
from typing import Any

from clinometer.models.architectures import registry
from clinometer.tools.report import findings as findings_lib
from clinometer.tools.report import theme
from clinometer.tools.report.tables import sources as sources_lib

# Outcome of a difference of gain -> words for it.
WORDS = {
    "worse": "gains less",
    "better": "gains more",
    "equivalent": "equivalent",
    "different, negligibly": "negligibly",
    "undecided": "undecided",
    None: "error unknown",
}
DECIDED = ("worse", "better", "equivalent", "different, negligibly")


def make(sources: sources_lib.Sources) -> list[dict[str, Any]]:
    """Returns the architectures with runs, by falling difference of gain.

    Columns: arch, label, family; gain, gain_lo, gain_hi: nats per tenfold training
    FLOPs over the architecture's own range; diff, diff_lo, diff_hi: difference of gain
    from the reference over the shared range, nats, with its simultaneous interval;
    outcome and outcome_text; level, level_lo, level_hi and level_outcome: difference of
    loss at equal training FLOPs, nats; times, times_lo, times_hi: the level as a factor
    of compute, and times_text; margin, nats; reason: why there is no comparison. A
    value that is unknown is None; the reference differs from itself by 0.
    """
    found = sources.findings
    looks = theme.looks(row["architecture"] for row in sources.rows)
    gains = {gain.architecture: gain for gain in found.gains}
    compared = {one.architecture: one for one in found.compared}
    made = []
    for name, look in looks.items():
        row = {"arch": name, "label": look.label, "family": look.family}
        row |= _gain(gains.get(name))
        row |= _difference(name, compared.get(name))
        row["margin"] = found.margin
        made.append(row)
    place = {name: i for i, name in enumerate(looks)}

    def order(row: dict[str, Any]) -> tuple[bool, float, int]:
        return row["diff"] is None, -(row["diff"] or 0.0), place[row["arch"]]

    return sorted(made, key=order)


def _gain(gain: findings_lib.Gain | None) -> dict[str, float | None]:
    estimate = None if gain is None else gain.per_decade
    if estimate is None:
        return dict.fromkeys(("gain", "gain_lo", "gain_hi"))
    return {"gain": estimate.value, "gain_lo": estimate.low, "gain_hi": estimate.high}


def _difference(name: str, one: findings_lib.Compared | None) -> dict[str, Any]:
    columns = (
        *("diff", "diff_lo", "diff_hi", "outcome", "level", "level_lo", "level_hi"),
        *("level_outcome", "times", "times_lo", "times_hi"),
    )
    row: dict[str, Any] = dict.fromkeys(columns)
    row |= {"outcome_text": "not compared", "times_text": "", "reason": None}
    if name == registry.REFERENCE:
        row |= {"diff": 0.0, "outcome": "reference", "outcome_text": "reference"}
        return row | {"level": 0.0, "times": 1.0, "times_text": "1"}
    if one is None or one.gain is None or one.level is None:
        return row | {"reason": one.reason if one else "it has no size with runs"}
    for column, judged in (("diff", one.gain), ("level", one.level)):
        row[column] = judged.estimate.value
        row[f"{column}_lo"] = judged.estimate.low
        row[f"{column}_hi"] = judged.estimate.high
    row["outcome"], row["level_outcome"] = one.gain.outcome, one.level.outcome
    row["outcome_text"] = WORDS[one.gain.outcome]
    if one.multiplier is not None:
        factor = one.multiplier.average
        row["times_text"] = "unbounded"
        if factor.bounded and not math.isnan(factor.value):
            row |= {"times": factor.value, "times_lo": factor.low}
            row |= {"times_hi": factor.high, "times_text": f"{factor.value:.2g}"}
    return row


def compared(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the rows of `make` that have a difference from the reference."""
    return [
        row for row in rows if row["diff"] is not None and row["outcome"] != "reference"
    ]
