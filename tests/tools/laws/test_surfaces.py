"""Tests the law of size and data of frames, with branches as runs of their own."""

import pytest

from clinometer.tests.tools.laws import ladders
from clinometer.tools.fit import errors
from clinometer.tools.laws import surfaces


def _rows(ratios=(5, 20, 80), sizes=5, **more):
    rows = []
    for ratio in ratios:
        made = ladders.ladder(sizes=ladders.SIZES[:sizes])
        for row in made:
            n = row["params_total"]
            d = ratio * n
            row["run"] += f"-{ratio}"
            row["tokens_seen"], row["training_flops"] = d, 4.5 * n * d
            row["validation_loss_nats"] = 1.7 + 400 * n**-0.34 + 400 * d**-0.28
            row |= {name: make(ratio) for name, make in more.items()}
        rows += made
    return rows


@pytest.fixture(scope="module")
def found():
    # Branches off one trunk: another schedule and length, the same corpus.
    rows = _rows(
        schedule=lambda ratio: f"decay_from={ratio}",
        initial=lambda ratio: f"trunk at step {ratio}",
        train_steps=lambda ratio: 100 * ratio,
    )
    (surface,) = surfaces.fit_all(ladders.frame(rows), budgets=(1e17, 1e25))
    return surface


def test_branches_are_points_of_their_own(found):
    assert found.points == 15 and found.reason is None
    assert found.law.size_exponent == pytest.approx(0.34, rel=1e-4)
    assert found.law.data_exponent == pytest.approx(0.28, rel=1e-4)
    assert found.law.floor == pytest.approx(1.7, rel=1e-4)
    assert found.agrees and found.law.not_determined == ()
    assert found.check.floor == pytest.approx(1.7, rel=1e-4)


def test_best_sizes(found):
    inside, outside = found.optima
    assert inside.size and inside.size * inside.tokens * 4.5 == pytest.approx(1e17)
    assert outside.size is None and "cost as much" in outside.reason
    assert found.work.factor == pytest.approx(4.5)
    assert found.work.spread == pytest.approx(1)


def test_levels_are_those_of_three_sizes():
    rows = []
    budgets = {"small": 1e18, "large": 1e19, "lone": 1e20}
    for name, flops in budgets.items():
        count = 2 if name == "lone" else 5
        for i, row in enumerate(ladders.ladder(sizes=ladders.SIZES[:count])):
            n = row["params_total"]
            row["run"] += name
            row["training_flops"] = flops * (1 + 0.005 * i)
            d = row["training_flops"] / (4.5 * n)
            row["tokens_seen"] = d
            row["validation_loss_nats"] = 1.7 + 400 * n**-0.34 + 400 * d**-0.28
            rows.append(row)
    (surface,) = surfaces.fit_all(ladders.frame(rows))
    found = [best.flops for best in surface.optima]
    assert found == pytest.approx([1e18, 1e19], rel=0.03)
    assert surface.law.floor == pytest.approx(1.7, rel=1e-4)
    # The rule of the law: the best size grows as C^(b / (a + b)), where it is measured.
    for best in surface.optima:
        assert (best.size is None) == (best.reason is not None)


def test_other_conditions_must_agree():
    frame = ladders.frame(_rows())
    frame.loc[0, "corpus_hash"] = "other"
    with pytest.raises(errors.FitError, match="corpus_hash"):
        surfaces.fit_all(frame)


def test_one_length_has_no_law():
    (surface,) = surfaces.fit_all(ladders.frame(_rows(ratios=(20,), sizes=8)))
    assert surface.law is None and "one proportion" in surface.reason
