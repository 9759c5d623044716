"""Tests the set that the data cannot tell from the best, by simulation too."""

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.laws import ladders
from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.recommend import choice
from clinometer.tools.results import errors
from clinometer.tools.results import frame as frame_lib

_SIZES = ladders.SIZES[:4]
_BUDGET = 1e11 * float(np.sqrt(_SIZES[1] * _SIZES[2]))


def _rows(offsets, noise=0.003, seed=0, replicates=2):
    rows = []
    for k, (name, offset) in enumerate(offsets.items()):
        rows += ladders.ladder(
            name,
            _SIZES,
            lambda n, offset=offset: 1.7 + 400 * n**-0.34 + offset,
            replicates,
            noise,
            seed=100 * seed + k,
        )
    return rows


def _found(rows, flops=_BUDGET, **options):
    return choice.recommend(ladders.frame(rows), flops, **options)


def test_equals_stay_and_the_worse_leave():
    found = _found(_rows({"glu": 0.0, "mos": 0.0005, "performer": 0.1}))
    assert {one.architecture for one in found.chosen} == {"glu", "mos"}
    last = found.candidates[-1]
    assert last.architecture == "performer" and not last.in_set
    assert last.low > 0 and last.low < 0.1 < last.high
    # Read between sizes: near the truth at the budget.
    truth = 1.7 + 400 * (_BUDGET / 1e11) ** -0.34
    assert found.candidates[0].loss == pytest.approx(truth, abs=0.02)
    assert found.reason is None and found.not_measured == {}


@pytest.mark.slow
def test_the_set_holds_the_best():
    held = 0
    for seed in range(40):
        offsets = {"glu": 0.0, "mos": 0.002, "dconv": 0.002, "mixer": 0.002}
        found = _found(_rows(offsets, 0.004, seed))
        held += "glu" in {one.architecture for one in found.chosen}
    # Binomial with 40 trials at 95 %: below 33 in less than 0.3 % of cases.
    assert held >= 33


def test_without_replicates_nothing_is_told_apart():
    found = _found(_rows({"glu": 0.0, "performer": 0.1}, 0.0, replicates=1))
    assert len(found.chosen) == 2 and "unknown" in found.reason
    assert found.candidates[1].behind == pytest.approx(0.1)
    assert found.candidates[1].low is None


def test_outside_of_the_measured_range_is_refused():
    rows = _rows({"glu": 0.0})
    with pytest.raises(errors.ResultsError, match="glu was measured from 1e.18 to"):
        _found(rows, 1e25)
    with pytest.raises(errors.ResultsError, match="not extrapolated"):
        _found(rows, 1.0)
    rows += ladders.ladder("mos", ladders.SIZES[5:])
    found = _found(rows)
    assert [one.architecture for one in found.candidates] == ["glu"]
    assert "was measured from" in found.not_measured["mos"]


def test_too_few_sizes_or_no_costs():
    found = _found(_rows({"glu": 0.0}) + ladders.ladder("mos", _SIZES[:2]))
    assert "needs 3" in found.not_measured["mos"]
    rows = _rows({"glu": 0.0})
    for row in rows:
        del row["training_flops"]
    with pytest.raises(errors.ResultsError, match="has 0 sizes"):
        _found(rows)


def test_a_study_in_orders_compares_within_orders(tmp_path):
    """Orders shift all losses by far more than the architectures differ."""
    losses = {}
    for architecture, offset in (("transformer", 0.0), ("glu", 0.05)):
        for i, size in enumerate(synthetic_study.SIZES):
            for order in (1, 2):
                noise = 0.001 * ((i + order + len(architecture)) % 3)
                losses[architecture, size, order, 10 * order + i] = (
                    4.6 - 0.1 * i + offset + 0.5 * order + noise
                )
    synthetic_study.write_losses(tmp_path, losses)
    frame = frame_lib.read(tmp_path)
    flops = float(
        np.sqrt(frame["training_flops"].min() * frame["training_flops"].max())
    )
    found = choice.recommend(frame, flops)
    assert [one.architecture for one in found.chosen] == ["transformer"]
    # Mutation: without the orders' numbers their effect is noise.
    frame["data_order"] = np.nan
    frame["seed"] = np.arange(len(frame))
    assert len(choice.recommend(frame, flops).chosen) == 2


def _timed(name, loss, seconds, seed=0, replicates=2, noise=0.003):
    """A ladder on one device whose sizes take `seconds`, a function of the size."""
    rows = ladders.ladder(
        name,
        _SIZES,
        loss,
        replicates,
        noise,
        seed,
        training_seconds=seconds,
        steps_per_second_median=lambda n: 1000 / seconds(n),
    )
    return [row | {"device_kind": "v4", "device_training": 4} for row in rows]


@pytest.mark.parametrize(
    ("cost", "of"),
    [
        ("parameters", lambda n: n),
        ("seconds", lambda n: 2e-5 * n**0.9),
        ("steps_per_second", lambda n: 1000 / (2e-5 * n**0.9)),
    ],
)
def test_losses_and_intervals_at_other_costs(cost, of):
    """The parabola in cost^-1/2 through the nearest means, fitted by `polyfit`."""
    truths = {"glu": lambda n: 2 + 900 * n**-0.5, "mos": lambda n: 2.01 + 900 * n**-0.5}
    rows = [
        row
        for seed, (name, loss) in enumerate(truths.items())
        for row in _timed(name, loss, lambda n: 2e-5 * n**0.9, seed)
    ]
    budget = of(1.2 * _SIZES[1])
    found = _found(rows, budget, cost=cost)
    assert found.cost == cost and found.budget == budget
    costs = np.array([round(n) if cost == "parameters" else of(n) for n in _SIZES])
    x = costs**0.5 if cost == "steps_per_second" else costs**-0.5
    at = budget**0.5 if cost == "steps_per_second" else budget**-0.5
    near = np.sort(np.argsort(np.abs(np.log(x / at)))[:3])
    losses = np.reshape([r["validation_loss_nats"] for r in rows], (2, 4, 2))
    read = [np.polyval(np.polyfit(x[near], m[near], 2), at) for m in losses.mean(2)]
    by_name = {one.architecture: one for one in found.candidates}
    # Means of the file's decimals; the fit's matrix costs some digits.
    assert [by_name[n].loss for n in truths] == pytest.approx(read, abs=1e-7)
    # Of a mean of two runs, pooled over eight sizes; one pair has Student's quantile.
    unit = np.eye(3)
    weight = [np.polyval(np.polyfit(x[near], unit[i], 2), at) for i in range(3)]
    error = np.sqrt(2 * np.sum(np.square(weight)) * losses.var(2, ddof=1).mean() / 2)
    behind = found.candidates[1]
    assert behind.behind == pytest.approx(abs(read[1] - read[0]), abs=1e-7)
    # The quantile comes from a numerical integral.
    assert behind.high - behind.behind == pytest.approx(
        stats.t.ppf(0.975, 8) * error, rel=1e-3
    )


def test_costs_put_architectures_in_another_order():
    """A slow one is better at equal parameters, and worse in equal time."""
    rows = _timed("glu", lambda n: 2 + 900 * n**-0.5, lambda n: 1e-5 * n)
    rows += _timed("mos", lambda n: 1.98 + 900 * n**-0.5, lambda n: 3e-5 * n, 1)

    def best(budget, cost):
        return [c.architecture for c in _found(rows, budget, cost=cost).chosen]

    assert best(_SIZES[2], "parameters") == ["mos"]
    assert best(1e-5 * _SIZES[2], "seconds") == ["glu"]


def test_times_of_several_devices_or_disturbed_ones_are_refused():
    rows = _timed("glu", lambda n: 2 + 900 * n**-0.5, lambda n: 1e-5 * n)
    budget = 1e-5 * _SIZES[1]
    other = [
        {**row, "device_kind": "v5e"} if i < 2 else row for i, row in enumerate(rows)
    ]
    with pytest.raises(fit_errors.FitError, match="one device only.*device_kind"):
        _found(other, budget, cost="seconds")
    assert _found(other, _SIZES[1], cost="parameters").chosen
    mixed = _found(other, budget, mixed=("device_kind",), cost="seconds")
    assert len(mixed.chosen) == 1
    with pytest.raises(errors.ResultsError, match="glu was measured from 100 to"):
        _found(rows, 1.0, cost="seconds")
    # A speed outside of the range, from the slowest to the fastest.
    with pytest.raises(errors.ResultsError, match="from 1.39 to 10$"):
        _found(rows, 1e4, cost="steps_per_second")
    frame = ladders.frame(rows)
    frame["speed_noisy"] = [True] * 4 + [False] * 4
    with pytest.raises(errors.ResultsError, match="glu has 2 sizes"):
        choice.recommend(frame, budget, cost="seconds")


def test_lengths_of_one_size_are_no_curve_of_parameters():
    rows = _rows({"glu": 0.0})
    for i, row in enumerate(rows):
        row["train_steps"] = 100 if i % 2 else 200
        row["training_flops"] = row["training_flops"] * row["train_steps"]
    with pytest.raises(errors.ResultsError, match="two sizes of equal parameters"):
        _found(rows, _SIZES[1], mixed=("train_steps",), cost="parameters")


def test_mixed_conditions_are_refused():
    frame = ladders.frame(_rows({"glu": 0.0}))
    frame.loc[0, "corpus_hash"] = "other"
    with pytest.raises(fit_errors.FitError, match="corpus_hash"):
        choice.recommend(frame, _BUDGET)
