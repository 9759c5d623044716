"""Judges the first study's claims by runs whose verdicts and numbers are known.

All architectures cost the same and all cells are in the same orders, so that every
difference is one of plain means.
"""

import numpy as np
import pytest
from scipy import stats

from clinometer.models.counting import counts
from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import design as design_lib
from clinometer.tools.study.claims import file
from clinometer.tools.study.claims import observed
from clinometer.tools.study.claims import verdicts
from clinometer.tools.study.configs import first_study
from clinometer.tools.study.configs import first_study_claims

_COSTS = dict(zip(studies.WIDTHS, studies.FLOPS["transformer"]))
_COSTS[256] = 2.3381286912e13
# A power law with a floor: loss = 4.1 + 0.33 (C / C_d16)^-0.6.
_LAW = {w: 4.1 + 0.33 * (cost / _COSTS[16]) ** -0.6 for w, cost in _COSTS.items()}
_ORDERS = (0.01, -0.004, -0.006)
# Residuals of one sd in two and in three orders, which do not change a mean.
_RESIDUALS = {1: (0.0,), 2: (0.5**0.5, -(0.5**0.5)), 3: (1.0, 0.0, -1.0)}
_MARGIN = first_study_claims.MARGIN_NATS
_FILE = file.run(file.read(first_study_claims.__file__))


def _runs(
    shifts,
    noise=0.001,
    *,
    effects=_ORDERS,
    parts=None,
    widths=studies.WIDTHS,
    law=_LAW,
):
    """Returns runs of vanilla and an odd number of others around the law.

    The residuals of two architectures cancel in each order, so that means and effects
    of orders are exact.

    Args:
        shifts: architecture -> differences from vanilla at d16 and at d128, in nats; at
            the other widths they are in proportion to ln(width).
        noise: sd of a run.
        effects: of the orders, nats.
        parts: see `observed.Runs`.
        widths: of the runs.
        law: width -> mean loss of vanilla.
    """
    found = []
    named = {"transformer": (0.0, 0.0), **shifts}
    for number, (architecture, ends) in enumerate(named.items()):
        for width in widths:
            share = np.log2(width / 16) / 3
            mean = law[width] + (1 - share) * ends[0] + share * ends[1]
            residuals = np.array(_RESIDUALS[len(effects)]) * noise * (-1) ** number
            losses = mean + np.array(effects) + residuals
            found += [
                _run(architecture, width, order, float(loss))
                for order, loss in enumerate(losses, 1)
            ]
    return observed.Runs(found, parts or {})


def _run(architecture, width, order, loss):
    name, cost = f"{architecture}-d{width}-o{order}", _COSTS[width]
    return observed.Run(
        name=name,
        architecture=architecture,
        width=width,
        order=order,
        seed=100 * order,
        diverged=loss is None,
        values={"validation_loss_nats": loss, "training_flops": cost, "d_model": width},
        inference=design_lib.Run(
            name, architecture, width, str(order), str(100 * order), cost, loss or 1.0
        ),
    )


def _mean(runs, architecture, width):
    chosen = runs.select(architecture=architecture, width=width)
    return np.mean(chosen.column("validation_loss_nats"))


def _at_ends(runs, architecture):
    """Returns the differences to vanilla at d16 and d128, of plain means."""
    return [
        _mean(runs, architecture, width) - _mean(runs, "transformer", width)
        for width in (16, 128)
    ]


def _verdict(runs, name):
    judged = {one.claim.name: one.verdict for one in verdicts.judge(_FILE, runs)}
    return judged[name]


def _is_close(value, expected):
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-9)


def test_there_is_a_claim_for_each_architecture():
    names = [claim.name for claim in _FILE.claims]
    others = [name for name in first_study.ARCHITECTURES if name != "transformer"]
    for what in ("level", "gain", "crossover"):
        assert {f"{name} {what}" for name in others} <= set(names)
    assert len(names) == 1 + 3 * 11 + 2 * 2 * 3 + 1
    for part in ("fixed rate", "second text"):
        for name in set(first_study.CONTROLS) - {"transformer"}:
            assert f"{part}, {name} level" in names
    assert _FILE.margin == _MARGIN


def test_the_size_that_is_predicted_costs_what_it_says():
    model = "transformer-DM256-NH16-FF1024-PI"
    counted = counts.count(
        model,
        batch_size=4,
        encoder_length=128,
        decoder_length=29,
        trace=False,
        vocab_size=2048,
    )
    width, flops, runs, orders = first_study_claims.D256
    assert flops == 3000 * counted.flops_train_step
    assert (width, runs, orders) == (256, 2, 2)


@pytest.mark.parametrize(
    ("law", "noise", "outcome"),
    [
        (_LAW, 0.001, "supported"),
        ({width: 9 - loss for width, loss in _LAW.items()}, 0.001, "contradicted"),
        (dict.fromkeys(_LAW, 4.3), 0.02, "undecided"),
    ],
)
def test_vanilla_gains(law, noise, outcome):
    runs = _runs({"glu": (0.0, 0.0)}, noise, law=law)
    verdict = _verdict(runs, "vanilla gain")
    assert verdict.outcome == outcome
    gain = _mean(runs, "transformer", 16) - _mean(runs, "transformer", 128)
    _is_close(verdict.numbers["gain"], gain)
    decades = np.log10(_COSTS[128] / _COSTS[16])
    _is_close(verdict.numbers["per tenfold"], gain / decades)
    assert verdict.numbers["low"] < gain < verdict.numbers["high"]


@pytest.mark.parametrize(
    ("shift", "noise", "outcome", "reason"),
    [
        ((0.1, 0.1), 0.001, "supported", "worse"),
        ((-0.1, -0.1), 0.001, "supported", "better"),
        ((0.0, 0.0), 0.001, "contradicted", "equivalent"),
        ((0.01, 0.01), 0.001, "contradicted", "different, negligibly"),
        ((0.0, 0.0), 0.1, "undecided", "undecided"),
    ],
)
def test_levels(shift, noise, outcome, reason):
    runs = _runs({"glu": shift}, noise)
    verdict = _verdict(runs, "glu level")
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    _is_close(verdict.numbers["difference"], np.mean(_at_ends(runs, "glu")))
    _is_close(verdict.numbers["decades"], np.log10(_COSTS[128] / _COSTS[16]))


@pytest.mark.parametrize(
    ("shift", "noise", "outcome", "reason"),
    [
        ((0.05, -0.05), 0.001, "supported", "better"),
        ((-0.05, 0.05), 0.001, "supported", "worse"),
        ((0.2, 0.2), 0.001, "contradicted", "equivalent"),
        ((0.0, 0.0), 0.1, "undecided", "undecided"),
    ],
)
def test_gains(shift, noise, outcome, reason):
    runs = _runs({"glu": shift}, noise)
    verdict = _verdict(runs, "glu gain")
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    low, high = _at_ends(runs, "glu")
    _is_close(verdict.numbers["difference"], low - high)


@pytest.mark.parametrize(
    ("shift", "noise", "outcome"),
    [
        ((0.05, -0.05), 0.001, "supported"),
        ((-0.05, 0.05), 0.001, "supported"),
        ((0.05, 0.05), 0.001, "contradicted"),
        ((-0.05, -0.05), 0.001, "contradicted"),
        ((0.05, 0.0), 0.01, "undecided"),
    ],
)
def test_crossovers(shift, noise, outcome):
    runs = _runs({"glu": shift}, noise)
    verdict = _verdict(runs, "glu crossover")
    assert verdict.outcome == outcome
    _is_close(
        [verdict.numbers["low end"], verdict.numbers["high end"]], _at_ends(runs, "glu")
    )


def _with_part(name, differs, shift, noise):
    """Returns a study in which glu differs by `shift` in a part, and nowhere else."""
    same = {"switch": (0.02, 0.0), "performer": (0.0, 0.05), "glu": (0.03, 0.03)}
    moved = same | {"glu": tuple(0.03 + end for end in shift)}
    other = _runs(moved, noise, effects=(0.03, -0.01))
    part = observed.Part(other, frozenset(differs))
    return _runs(same, noise, parts={name: part}), other


_PARTS = (
    ("fixed rate, glu", "fixed_rate", {"rate_protocol", "learning_rate"}),
    ("second text, glu", "second_text", {"corpus_hash", "vocabulary_sha256"}),
)


@pytest.mark.parametrize(
    ("shift", "noise", "fixed_rate", "second_text"),
    [
        ((0.1, 0.1), 0.001, "supported", "contradicted"),
        ((0.0, 0.0), 0.001, "contradicted", "supported"),
        # Significant, and inside of the margin.
        ((0.015, 0.015), 0.001, "contradicted", "supported"),
        ((0.0, 0.0), 0.1, "undecided", "undecided"),
    ],
)
def test_changes_of_a_level(shift, noise, fixed_rate, second_text):
    for (prefix, name, differs), outcome in zip(_PARTS, (fixed_rate, second_text)):
        runs, other = _with_part(name, differs, shift, noise)
        verdict = _verdict(runs, f"{prefix} level")
        assert verdict.outcome == outcome, verdict
        expected = np.mean(_at_ends(other, "glu")) - np.mean(_at_ends(runs, "glu"))
        _is_close(verdict.numbers["change"], expected)
        # The study's 16 cells leave 2 squares of the noise each, in 32 - 2 degrees; a
        # level has the variance of a cell's mean, of three runs and again of two.
        known = noise * np.sqrt(32 / 30 * (1 / 3 + 1 / 2))
        np.testing.assert_allclose(verdict.numbers["standard error"], known, rtol=0.03)
        # In 30 degrees, for the first of three architectures.
        quantiles = stats.t.ppf([1 - 0.05 / 6, 0.8], 30).sum()
        np.testing.assert_allclose(
            verdict.numbers["detectable change"], quantiles * known, rtol=0.05
        )
        # The part's 16 cells leave one square each, in 16 - 1 degrees.
        ratio = np.sqrt(16 / 15 / (32 / 30))
        np.testing.assert_allclose(verdict.numbers["ratio of sd"], ratio, rtol=0.03)


@pytest.mark.parametrize(
    ("shift", "noise", "fixed_rate", "second_text"),
    [
        ((0.1, -0.1), 0.001, "supported", "contradicted"),
        ((0.1, 0.1), 0.001, "contradicted", "supported"),
        ((0.0, 0.0), 0.1, "undecided", "undecided"),
    ],
)
def test_changes_of_a_gain(shift, noise, fixed_rate, second_text):
    for (prefix, name, differs), outcome in zip(_PARTS, (fixed_rate, second_text)):
        runs, other = _with_part(name, differs, shift, noise)
        verdict = _verdict(runs, f"{prefix} gain")
        assert verdict.outcome == outcome, verdict
        (low, high), (before, after) = _at_ends(other, "glu"), _at_ends(runs, "glu")
        _is_close(verdict.numbers["change"], (low - high) - (before - after))
        # A difference of two ends has four times the variance of their average.
        known = noise * np.sqrt(4 * 32 / 30 * (1 / 3 + 1 / 2))
        np.testing.assert_allclose(verdict.numbers["standard error"], known, rtol=0.03)


def test_a_change_that_is_significant_within_the_margin_is_no_contradiction():
    # With a standard error near 0.008, 0.0235 is significant and not negligible.
    prefix, name, differs = _PARTS[1]
    runs, _ = _with_part(name, differs, (0.0235, 0.0235), 0.009)
    numbers = _verdict(runs, f"{prefix} level").numbers
    assert numbers["p"] <= 0.05 < numbers["p of equivalence"]
    assert abs(numbers["change"]) < _MARGIN
    assert _verdict(runs, f"{prefix} level").outcome == "undecided"
    runs, _ = _with_part(*_PARTS[0][1:], (0.026, 0.026), 0.01)
    assert _verdict(runs, "fixed rate, glu level").outcome == "supported"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (None, "the part fixed_rate has no complete pass"),
        (set(), "do not differ from the study's in any of rate_protocol"),
        ({"rate_protocol", "train_steps"}, "differ from the study's in train_steps"),
    ],
)
def test_a_part_that_is_not_what_it_should_be_decides_nothing(part, words):
    runs, _ = _with_part("fixed_rate", part or (), (0.1, 0.1), 0.001)
    if part is None:
        runs = observed.Runs(runs.runs)
    verdict = _verdict(runs, "fixed rate, glu level")
    assert verdict.outcome == "undecided" and words in verdict.reason


def test_a_diverged_run_decides_nothing_about_its_architecture_alone():
    runs = _runs({"glu": (0.1, 0.1), "switch": (0.1, 0.1), "mos": (0.0, 0.0)})
    lost = [_run("glu", 16, 1, None), *(r for r in runs.runs if r.name != "glu-d16-o1")]
    for what in ("level", "gain", "crossover"):
        verdict = _verdict(observed.Runs(lost), f"glu {what}")
        assert (verdict.outcome, verdict.reason) == ("undecided", "glu-d16-o1 diverged")
    assert _verdict(observed.Runs(lost), "switch level").outcome == "supported"
    lost = [_run("transformer", 16, 1, None), *runs.runs[1:]]
    for name in ("vanilla gain", "switch level", "d256"):
        verdict = _verdict(observed.Runs(lost), name)
        assert verdict.reason == "transformer-d16-o1 diverged"


def _with_d256(noise, off=0.0, runs=2):
    """Returns a study with d256 `off` from the law."""
    moved = {**_LAW, 256: _LAW[256] + off}
    parts = {}
    if runs:
        new = _runs({}, noise, effects=(0.0,) * runs, widths=(256,), law=moved)
        parts["d256"] = observed.Part(new, frozenset())
    others = dict.fromkeys(("glu", "mos", "mixer"), (0.0, 0.0))
    return _runs(others, noise, effects=(0.0, 0.0, 0.0), parts=parts)


@pytest.mark.parametrize(
    ("noise", "off", "outcome", "reason"),
    [
        (0.0002, 0.0, "supported", "supported"),
        (0.0002, 0.05, "contradicted", "contradicted"),
        (0.03, 0.0, "undecided", "uninformative"),
    ],
)
def test_the_prediction_of_d256(noise, off, outcome, reason):
    verdict = _verdict(_with_d256(noise, off), "d256")
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    numbers = verdict.numbers
    np.testing.assert_allclose(numbers["predicted"], _LAW[256], atol=5 * noise)
    np.testing.assert_allclose(numbers["observed"], _LAW[256] + off, atol=3 * noise)
    if noise < 0.001:
        np.testing.assert_allclose(numbers["exponent"], 0.6, atol=0.03)
        np.testing.assert_allclose(
            numbers["step"], _LAW[128] - _LAW[256], atol=5 * noise
        )


def test_d256_is_predicted_before_it_is_run():
    before = _verdict(_with_d256(0.0002, runs=0), "d256")
    assert before.outcome == "undecided"
    assert before.reason == "the part d256 has no complete pass"
    after = _verdict(_with_d256(0.0002), "d256")
    assert before.numbers == {
        key: value for key, value in after.numbers.items() if key != "observed"
    }
    half = _verdict(_with_d256(0.0002, runs=1), "d256")
    assert half.outcome == "undecided" and "not the 2 of 2.338" in half.reason
