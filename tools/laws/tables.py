"""The laws of a frame as CSV tables, numbers in full precision, missing ones empty."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import csv
import io
from typing import Any

from clinometer.tools.laws import alphas
from clinometer.tools.laws import downstream
from clinometer.tools.laws import equation_one
from clinometer.tools.laws import frontiers
from clinometer.tools.laws import left_out
from clinometer.tools.laws import summary
from clinometer.tools.laws import surfaces
from clinometer.tools.laws import text_checks
from clinometer.tools.study.claims import papers

_Row = Mapping[str, Any]


def of_laws(laws: summary.Laws) -> dict[str, str]:
    """Returns file name -> text of all tables that have rows."""
    made = {
        "alphas.csv": alpha_rows(laws.alphas),
        "alpha_variants.csv": variant_rows(laws.alphas + laws.printed_alphas),
        "equation_one.csv": equation_rows(laws.equation_one),
        "size_and_data.csv": surface_rows(laws.surfaces),
        "best_sizes.csv": optimum_rows(laws.surfaces),
        "downstream_laws.csv": task_rows(laws.tasks),
        "held_out.csv": left_out_rows(laws.left_out),
        "frontiers.csv": frontier_rows(laws.frontiers),
        "efficient.csv": efficiency_rows(laws.efficient),
        "paper_claims.csv": claim_rows(laws.claims),
    }
    return {name: write(rows) for name, rows in made.items() if rows}


def write(rows: Sequence[_Row]) -> str:
    """Returns rows with the same keys as the text of a CSV file."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def alpha_rows(found: Iterable[alphas.Alpha]) -> list[_Row]:
    """Returns a row per slope; units are in `alphas`."""
    return [
        {
            "architecture": one.architecture,
            "pair": one.pair,
            "x": one.x,
            "y": one.y,
            "slope": one.slope,
            "low": one.low,
            "high": one.high,
            "interval_of": one.interval_of,
            "points": one.points,
            "signal_to_noise": one.signal and one.signal.ratio,
            "reason": one.reason,
        }
        for one in found
    ]


def variant_rows(found: Iterable[alphas.Alpha]) -> list[_Row]:
    """Returns a row per variant of a slope."""
    return [
        {
            "architecture": one.architecture,
            "pair": one.pair,
            "x": variant.x,
            "y": variant.y,
            "logx": variant.fit.logx,
            "logy": variant.fit.logy,
            "standardise": variant.fit.standardise,
            "slope": variant.fit.slope,
            "theil_sen_slope": variant.fit.theil_sen_slope,
            "r_squared": variant.fit.r_squared,
            "points": variant.fit.n,
        }
        for one in found
        for variant in one.variants
    ]


def equation_rows(found: Iterable[equation_one.Law]) -> list[_Row]:
    """Returns a row per law; the rmse is in nats upstream and a fraction downstream."""
    return [
        {
            "architecture": one.architecture,
            "way": one.way,
            "size": one.size,
            "error": one.error,
            "points": one.points,
            "coefficient": one.fit and one.fit.coefficient,
            "exponent": one.fit and one.fit.exponent,
            "exponent_low": one.fit and one.fit.interval[0],
            "exponent_high": one.fit and one.fit.interval[1],
            "floor": one.fit and one.fit.floor,
            "rmse": one.fit and one.fit.rmse,
            "r_squared": one.fit and one.fit.r_squared,
            "determined": one.fit and one.fit.determined,
            "reason": one.reason,
        }
        for one in found
    ]


def surface_rows(found: Iterable[surfaces.Surface]) -> list[_Row]:
    """Returns a row per constant of a law of size and data, with that of the check."""
    rows = []
    for one in found:
        names = ("floor", "size_exponent", "data_exponent")
        for name in (*names, "size_coefficient", "data_coefficient"):
            low, high = getattr(one.law, f"{name}_interval", None) or (None, None)
            determined = None
            if one.law is not None and name in names:
                determined = name not in one.law.not_determined
            rows.append(
                {
                    "architecture": one.architecture,
                    "points": one.points,
                    "constant": name,
                    "value": getattr(one.law, name, None),
                    "low": low,
                    "high": high,
                    "determined": determined,
                    "check": getattr(one.check, name, None),
                    "agrees": one.agrees,
                    "reason": one.reason,
                }
            )
    return rows


def optimum_rows(found: Iterable[surfaces.Surface]) -> list[_Row]:
    """Returns a row per architecture and budget: FLOPs, parameters, tokens, nats."""
    return [
        {
            "architecture": one.architecture,
            "training_flops": best.flops,
            "best_size": best.size,
            "tokens": best.tokens,
            "loss": best.loss,
            "reason": best.reason,
        }
        for one in found
        for best in one.optima
    ]


def task_rows(found: Iterable[downstream.Task]) -> list[_Row]:
    """Returns a row per task and architecture, with its signal to noise."""
    return [
        {
            "architecture": one.architecture,
            "task": one.task,
            "points": one.points,
            "signal_to_noise": one.signal and one.signal.ratio,
            "threshold": one.signal and one.signal.threshold,
            "clear": one.signal and one.signal.clear,
            "likelihood_per_nat": one.two_steps and one.two_steps.slope,
            "two_steps_rate": one.two_steps and one.two_steps.sigmoid.rate,
            "two_steps_rmse": one.two_steps and one.two_steps.sigmoid.rmse,
            "two_steps_determined": one.two_steps and one.two_steps.sigmoid.determined,
            "direct_rate": one.direct and one.direct.sigmoid.rate,
            "direct_rmse": one.direct and one.direct.sigmoid.rmse,
            "direct_determined": one.direct and one.direct.sigmoid.determined,
            "reason": "; ".join(f"{k}: {v}" for k, v in one.reasons.items()),
        }
        for one in found
    ]


def left_out_rows(found: Iterable[left_out.LeftOut]) -> list[_Row]:
    """Returns a row per law and left-out size, in the unit of its target."""
    return [
        {
            "architecture": one.architecture,
            "law": one.law,
            "x": one.x,
            "target": one.target,
            "model": one.model,
            "points": one.points,
            "distance": one.distance,
            "observed": one.observed,
            "predicted": one.predicted,
            "error": one.error,
            "low": one.low,
            "high": one.high,
            "verdict": one.verdict,
            "reason": one.reason,
        }
        for one in found
    ]


def frontier_rows(found: Iterable[frontiers.Frontier]) -> list[_Row]:
    """Returns a row per frontier and point."""
    return [
        {
            "cost": one.cost,
            "quality": one.quality,
            "chips": one.chips,
            "model": member.model,
            "runs": " ".join(member.runs),
            "cost_value": member.cost,
            "quality_value": member.quality,
            "standard_error": member.error,
            "on_frontier": member.on,
            "probability": member.probability,
        }
        for one in found
        for member in one.members
    ]


def efficiency_rows(found: Iterable[frontiers.Efficiency]) -> list[_Row]:
    """Returns a row per model by the rule of Tay et al. 2021."""
    return [
        {
            "model": one.model,
            "runs": " ".join(one.runs),
            "efficient": one.efficient,
            "frontiers": " ".join(f"{cost}:{quality}" for cost, quality in one.on),
            "probability": one.probability,
        }
        for one in found
    ]


def claim_rows(found: Iterable[papers.JudgedAfterwards]) -> list[_Row]:
    """Returns a row per claim of a paper."""
    return [
        {
            "claim": one.claim.name,
            "statement": one.claim.statement,
            "source": one.claim.source,
            "outcome": str(one.verdict.outcome),
            "judged": "afterwards",
            "numbers": " ".join(f"{k}={v}" for k, v in one.verdict.numbers.items()),
            "reason": one.verdict.reason,
        }
        for one in found
    ]


def text_rows(found: Iterable[text_checks.TextCheck]) -> list[_Row]:
    """Returns a row per statement of the text of Tay et al. 2021."""
    return [
        {
            "statement": one.statement,
            "stated": one.stated,
            "computed": one.computed,
            "printed": one.printed,
            "holds": one.holds,
        }
        for one in found
    ]
