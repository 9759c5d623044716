"""Tests the set that the data cannot tell from the best, by simulation too."""

import numpy as np
import pytest

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


def test_mixed_conditions_are_refused():
    frame = ladders.frame(_rows({"glu": 0.0}))
    frame.loc[0, "corpus_hash"] = "other"
    with pytest.raises(fit_errors.FitError, match="corpus_hash"):
        choice.recommend(frame, _BUDGET)
