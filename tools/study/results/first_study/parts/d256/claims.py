"""What the first study is to decide, written before its final runs.

Each claim is about a size of effect that matters: a difference inside of the margin is
negligible. Comparisons with vanilla are made at equal training FLOPs; the level is the
difference of the losses, averaged over both ends of the range that both architectures
cover. Claims about a part of the study use its runs, and no other claim does.
Differences of several architectures are found as a family; that a change is negligible
is tested for each by itself.
"""

import dataclasses
import functools

import numpy as np
from scipy import stats

from clinometer.tools.inference import changes
from clinometer.tools.inference import contrasts
from clinometer.tools.inference import crossover
from clinometer.tools.inference import equal_compute
from clinometer.tools.inference import held_out
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import outcomes
from clinometer.tools.inference import simultaneous
from clinometer.tools.study.claims import claim
from clinometer.tools.study.claims import observed
from clinometer.tools.study.claims.claim import Outcome

# A tenth of what vanilla gains from d16 to d128 in the pilot, 0.2426 nats.
MARGIN_NATS = 0.0243
_ERROR_RATE = 0.05

VANILLA = "transformer"
OTHERS = (
    "evolved",
    "universal",
    "switch",
    "performer",
    "funnel",
    "albert",
    "mos",
    "glu",
    "lconv",
    "dconv",
    "mixer",
)
# Those that are also trained with one fixed rate, and on a second text.
CONTROLS = ("switch", "performer", "glu")
_RATE = ("rate_protocol", "learning_rate")
_TEXT = (
    "corpus_hash",
    "corpus_python_version",
    "vocabulary_sha256",
    "validation_tokens",
)
# The size that is predicted: its width, training FLOPs, runs and orders.
D256 = (256, 23381286912000, 2, 2)

_LEVEL, _GAIN = "level", "gain"
_LOSS = "validation_loss_nats"


@dataclasses.dataclass(frozen=True, eq=False)
class _Analysis:
    """The comparisons with vanilla, in the order of `comparisons`.

    Attributes:
        fitted: the model.
        comparisons: one an architecture.
        families: level and gain -> simultaneous intervals.
    """

    fitted: linear_model.Fit
    comparisons: list[equal_compute.Comparison]
    families: dict[str, simultaneous.Family]

    def index(self, name: str) -> int:
        return [pair.architecture for pair in self.comparisons].index(name)


@functools.lru_cache(maxsize=1)
def _analysis(runs: observed.Runs) -> _Analysis:
    runs.select(architecture=VANILLA).column(_LOSS)  # None may have diverged.
    fitted = linear_model.fit(*runs.without_diverged().design())
    pairs = equal_compute.compare_all(fitted.design, VANILLA)
    families = {
        quantity: simultaneous.family(fitted, _rows(pairs, quantity), 1 - _ERROR_RATE)
        for quantity in (_LEVEL, _GAIN)
    }
    return _Analysis(fitted, pairs, families)


def _rows(pairs: list[equal_compute.Comparison], quantity: str) -> np.ndarray:
    return np.array(
        [pair.level if quantity == _LEVEL else pair.gain_difference for pair in pairs]
    )


def _vanilla_gains(runs: observed.Runs) -> claim.Verdict:
    fitted = _analysis(runs).fitted
    rows = [
        contrasts.own_gain(fitted.design, VANILLA),
        contrasts.own_gain_per_decade(fitted.design, VANILLA),
    ]
    found = contrasts.estimate(fitted, np.array(rows))
    low, high = (float(end[0]) for end in found.interval())
    outcome = Outcome.SUPPORTED if low > 0 else Outcome.UNDECIDED
    if high < 0:
        outcome = Outcome.CONTRADICTED
    gain, per_decade = found.value
    numbers = {"gain": gain, "low": low, "high": high, "per tenfold": per_decade}
    return claim.Verdict(outcome, numbers)


def _differs(runs: observed.Runs, name: str, quantity: str) -> claim.Verdict:
    runs.select(architecture=name).column(_LOSS)
    analysis = _analysis(runs)
    family, i = analysis.families[quantity], analysis.index(name)
    low, high = float(family.low[i]), float(family.high[i])
    found = str(
        outcomes.classify(low, high, MARGIN_NATS, higher_is_better=quantity == _GAIN)
    )
    outcome = {
        outcomes.Outcome.BETTER: Outcome.SUPPORTED,
        outcomes.Outcome.WORSE: Outcome.SUPPORTED,
        outcomes.Outcome.UNDECIDED: Outcome.UNDECIDED,
    }.get(outcomes.Outcome(found), Outcome.CONTRADICTED)
    numbers = {
        "difference": float(family.estimates.value[i]),
        "low": low,
        "high": high,
        "decades": analysis.comparisons[i].decades,
    }
    return claim.Verdict(outcome, numbers, found)


def _crosses(runs: observed.Runs, name: str) -> claim.Verdict:
    runs.select(architecture=name).column(_LOSS)
    analysis = _analysis(runs)
    i = analysis.index(name)
    found = crossover.crossovers(analysis.fitted, analysis.comparisons, _ERROR_RATE)[i]
    same = float(_same_sign(analysis)[i])
    outcome = Outcome.UNDECIDED
    if found.crossing != crossover.Crossing.NONE:
        outcome = Outcome.SUPPORTED
    elif same <= _ERROR_RATE:
        outcome = Outcome.CONTRADICTED
    numbers = {
        "low end": found.low,
        "high end": found.high,
        "p": found.p_value,
        "p of one sign": same,
    }
    return claim.Verdict(outcome, numbers, str(found.crossing))


def _same_sign(analysis: _Analysis) -> np.ndarray:
    """Holm's p-values against "not one sign at both ends", one an architecture: [m].

    The larger of the one-sided p-values of both ends, doubled for the two signs.
    """
    pairs = analysis.comparisons
    rows = [pair.low for pair in pairs] + [pair.high for pair in pairs]
    above = contrasts.estimate(analysis.fitted, np.array(rows)).p_above()
    above = above.reshape(2, len(pairs))
    one_sign = np.minimum(above.max(axis=0), (1 - above).max(axis=0))
    return simultaneous.holm(np.minimum(2 * one_sign, 1))


@dataclasses.dataclass(frozen=True)
class _Change:
    """How a difference to vanilla is changed in a part of the study.

    Attributes:
        numbers: what a verdict is decided by.
        different: whether there is a change.
        negligible: whether the change is inside of the margin.
    """

    numbers: dict[str, float]
    different: bool
    negligible: bool


def _change(
    runs: observed.Runs, part: str, differs: tuple[str, ...], name: str, quantity: str
) -> _Change:
    other = runs.part(part, differs)
    for each in (runs, other):
        for architecture in (name, VANILLA):
            each.select(architecture=architecture).column(_LOSS)
    found = _changes(runs, other, quantity)
    return found[name]


@functools.lru_cache(maxsize=4)
def _changes(
    runs: observed.Runs, other: observed.Runs, quantity: str
) -> dict[str, _Change]:
    """Returns the changes of the controls that did not diverge, as one family."""
    fitted = _analysis(runs).fitted
    design, losses = other.without_diverged().design()
    names = [
        name
        for name in CONTROLS
        if {name} <= {*fitted.design.architectures} & {*design.architectures}
    ]
    rows, other_rows = (
        _rows([equal_compute.compare(each, n, VANILLA) for n in names], quantity)
        for each in (fitted.design, design)
    )
    found = changes.changes(fitted, rows, design, losses, other_rows)
    value, error = found.estimates.value, found.estimates.standard_error
    degrees = found.estimates.degrees
    different = simultaneous.holm(found.estimates.p_two_sided())
    equal = outcomes.equivalence_p(value, error, degrees, MARGIN_NATS)
    # A change of this size is found in 80 % of studies, in the first step of Holm.
    quantiles = stats.t.ppf([[1 - _ERROR_RATE / (2 * len(names))], [0.8]], degrees)
    detectable = error * quantiles.sum(axis=0)
    power = outcomes.equivalence_power(error, degrees, MARGIN_NATS)
    return {
        name: _Change(
            numbers={
                "change": float(value[i]),
                "standard error": float(error[i]),
                "p": float(different[i]),
                "p of equivalence": float(equal[i]),
                "chance of equivalence without change": float(power[i]),
                "detectable change": float(detectable[i]),
                "ratio of sd": float(found.spread),
            },
            different=bool(different[i] <= _ERROR_RATE),
            negligible=bool(equal[i] <= _ERROR_RATE),
        )
        for i, name in enumerate(names)
    }


def _fixed_rate_changes(runs: observed.Runs, name: str, quantity: str) -> claim.Verdict:
    found = _change(runs, "fixed_rate", _RATE, name, quantity)
    outcome = Outcome.SUPPORTED if found.different else Outcome.UNDECIDED
    if found.negligible:
        outcome = Outcome.CONTRADICTED
    return claim.Verdict(outcome, found.numbers)


def _second_text_does_not_change(
    runs: observed.Runs, name: str, quantity: str
) -> claim.Verdict:
    found = _change(runs, "second_text", _TEXT, name, quantity)
    outcome = Outcome.SUPPORTED if found.negligible else Outcome.UNDECIDED
    if found.different and abs(found.numbers["change"]) > MARGIN_NATS:
        outcome = Outcome.CONTRADICTED
    return claim.Verdict(outcome, found.numbers)


def _d256_is_predicted(runs: observed.Runs) -> claim.Verdict:
    fitted = _analysis(runs).fitted
    width, flops, count, orders = D256
    own = held_out.own_variance(fitted, width, count, orders)
    prediction = held_out.predict(fitted, VANILLA, flops, own, 1 - _ERROR_RATE)
    numbers = {
        "predicted": float(prediction.value),
        "low": float(prediction.low),
        "high": float(prediction.high),
        "step": float(prediction.step),
        "exponent": float(prediction.exponent),
        "exponent, low": float(prediction.exponent_low),
        "exponent, high": float(prediction.exponent_high),
    }
    try:
        new = runs.part("d256", ())
        losses = new.column(_LOSS)
    except observed.UndecidableError as error:
        return claim.Verdict(Outcome.UNDECIDED, numbers, str(error))
    costs = new.column("training_flops")
    if len(losses) != count or not np.allclose(costs, flops, rtol=1e-9):
        why = f"its runs are not the {count} of {flops:g} FLOPs that were predicted"
        return claim.Verdict(Outcome.UNDECIDED, numbers, why)
    numbers["observed"] = float(np.mean(losses))
    found = str(held_out.judge(prediction, numbers["observed"]))
    outcome = {
        held_out.Verdict.SUPPORTED: Outcome.SUPPORTED,
        held_out.Verdict.CONTRADICTED: Outcome.CONTRADICTED,
    }.get(held_out.Verdict(found), Outcome.UNDECIDED)
    return claim.Verdict(outcome, numbers, found)


def get_claims() -> list[claim.Claim]:
    """Returns the claims."""
    what = {_LEVEL: "loss at equal FLOPs", _GAIN: "gain with size at equal FLOPs"}
    kinds = (
        (_differs, OTHERS, "", "{0}'s {1} differs from vanilla's, not negligibly"),
        (
            _fixed_rate_changes,
            CONTROLS,
            "fixed rate, ",
            "a fixed learning rate changes how {0}'s {1} differs from vanilla's, "
            "not negligibly",
        ),
        (
            _second_text_does_not_change,
            CONTROLS,
            "second text, ",
            "a second text does not change how {0}'s {1} differs from vanilla's, or "
            "negligibly",
        ),
    )
    differences, *parts = (
        [
            claim.Claim(
                f"{prefix}{name} {quantity}",
                statement.format(name, words),
                functools.partial(judge, name=name, quantity=quantity),
            )
            for quantity, words in what.items()
            for name in names
        ]
        for judge, names, prefix, statement in kinds
    )
    crossings = [
        claim.Claim(
            f"{name} crossover",
            f"{name} and vanilla change places between the ends of their range",
            functools.partial(_crosses, name=name),
        )
        for name in OTHERS
    ]
    return [
        claim.Claim(
            "vanilla gain", "vanilla gains with size at tuned rates", _vanilla_gains
        ),
        *differences,
        *crossings,
        *(one for part in parts for one in part),
        claim.Claim(
            "d256",
            "vanilla's loss at d256 is that of a power law with a floor",
            _d256_is_predicted,
        ),
    ]
