"""Errors of mean scores against the balanced two-way design, and their coverage."""

import numpy as np
import pytest
from scipy import stats

from clinometer.train.downstream import crossed


def counts(rng, num_items, resamples):
    """How often each item is drawn in each resample, [R, N]."""
    return rng.multinomial(num_items, [1 / num_items] * num_items, size=resamples)


def cell(table, drawn):
    """A cell whose scores are means of `table` [S, N] over the items."""
    num_items = table.shape[1]
    return crossed.Cell(table.mean(axis=1), table @ drawn.T / num_items, num_items)


def half(estimate):
    low, high = estimate.interval
    assert (low + high) / 2 == pytest.approx(estimate.value)
    return (high - low) / 2


def mean_squares(table):
    """Mean squares of seeds, items and their interaction in a two-way table."""
    s, n = table.shape
    rows, columns, grand = table.mean(1), table.mean(0), table.mean()
    rest = table - rows[:, None] - columns + grand
    return (
        n * np.sum((rows - grand) ** 2) / (s - 1),
        s * np.sum((columns - grand) ** 2) / (n - 1),
        np.sum(rest**2) / ((s - 1) * (n - 1)),
    )


def test_the_variance_is_that_of_a_balanced_two_way_design():
    rng = np.random.default_rng(0)
    s, n, resamples = 3, 60, 40_000
    table = 50 + (
        rng.normal(0, 2, s)[:, None] + rng.normal(0, 9, n) + rng.normal(0, 4, (s, n))
    )
    of_seeds, of_items, rest = mean_squares(table)
    found = crossed.mean(cell(table, counts(rng, n, resamples)))
    assert found.value == pytest.approx(table.mean())
    # The bootstrap divides by N, not N - 1. Its covariance has a relative error of
    # 1 / sqrt(R) = 0.5 %.
    items = (of_items - rest) / (s * n) * (n - 1) / n
    seeds = of_seeds / (s * n)
    assert found.standard_error == pytest.approx(np.sqrt(seeds + items), rel=0.01)
    quantiles = stats.t.ppf(0.975, [s - 1, n - 1])
    expected = np.sqrt(quantiles**2 @ [seeds, items])
    assert half(found) == pytest.approx(expected, rel=0.01)
    # Adding the sampling error of the items to the seeds' counts `rest` twice.
    twice = np.sqrt(seeds + of_items / (s * n))
    assert twice / found.standard_error > 1.02
    assert found.unknown is None


def test_the_variance_has_the_expectation_of_its_components():
    """Var(mean) = A / S + B / N + E / (S N)."""
    rng = np.random.default_rng(1)
    s, n, a, b, e = 4, 50, 1.0, 6.0, 12.0
    drawn = counts(rng, n, 300)
    variances = []
    for _ in range(1000):
        table = rng.normal(0, a, s)[:, None] + rng.normal(0, b, n)
        table = table + rng.normal(0, e, (s, n))
        variances.append(crossed.mean(cell(table, drawn)).standard_error ** 2)
    expected = a**2 / s + b**2 / n + e**2 / (s * n)
    error = np.std(variances) / np.sqrt(len(variances))
    # The bootstrap's (N - 1) / N takes 0.01 off B / N, and clamping at 0 adds little.
    assert abs(np.mean(variances) - expected) < 4 * error + 0.02
    twice = expected + e**2 / (s * n)
    assert abs(np.mean(variances) - twice) > 10 * error


def test_a_difference_is_paired_by_item():
    rng = np.random.default_rng(2)
    n, items = 80, rng.normal(50, 30, 80)
    drawn = counts(rng, n, 20_000)
    tables = [
        k + rng.normal(0, 1, 3)[:, None] + items + rng.normal(0, 5, (3, n))
        for k in (0, 4)
    ]
    one, other = (cell(table, drawn) for table in tables)
    found = crossed.difference(other, one)
    assert found.value == pytest.approx(tables[1].mean() - tables[0].mean())
    # No interaction of items with cells: what is left is the seeds', with Welch's
    # degrees of freedom, as SciPy has them.
    welch = stats.ttest_ind(
        other.scores, one.scores, equal_var=False
    ).confidence_interval(0.95)
    low, high = found.interval
    assert high - low == pytest.approx(welch.high - welch.low, rel=0.25)
    # Unpaired, the items alone would be far wider: 30 sqrt(2 / 80) = 4.7 for one sd.
    assert found.items_interval[1] - found.items_interval[0] < 4
    assert half(crossed.mean(one)) > 5
    swapped = crossed.difference(one, other)
    assert swapped.interval == pytest.approx((-high, -low))
    for unpaired in (
        cell(tables[1][:, :40], counts(rng, 40, 100)),
        crossed.Cell(one.scores),
    ):
        with pytest.raises(ValueError, match="not paired by item"):
            crossed.difference(one, unpaired)


def test_one_seed_has_only_the_error_of_its_items():
    rng = np.random.default_rng(3)
    right = (rng.random((1, 277)) < 0.6) * 100.0
    found = crossed.mean(cell(right, counts(rng, 277, 4000)))
    assert (found.interval, found.unknown) == (None, "between-seed error unknown")
    share = right.mean() / 100
    expected = 1.96 * 100 * np.sqrt(share * (1 - share) / 277)
    low, high = found.items_interval
    # The ends are multiples of 1 / 277 = 0.36.
    assert (high - low) / 2 == pytest.approx(expected, abs=0.4)
    constant = crossed.mean(cell(np.zeros((1, 277)), counts(rng, 277, 100)))
    assert (constant.interval, constant.items_interval) == (None, None)


def test_what_nothing_varies_is_not_certain():
    equal = crossed.Cell(np.array([50.0, 50.0]), np.full((2, 10), 50.0), 40)
    found = crossed.mean(equal)
    assert found.interval is None and "all seeds have the same score" in found.unknown


def test_without_items_the_seeds_give_student_s_interval():
    scores = np.array([21.2, 39.4, 30.0])
    found = crossed.mean(crossed.Cell(scores))
    expected = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert found.interval == pytest.approx(tuple(expected))
    assert found.unknown == "error due to the sampling of items unknown"
    assert found.items_interval is None


def test_tasks_that_share_a_model_are_not_independent():
    rng = np.random.default_rng(4)
    effects = np.array([-6.0, 0.0, 6.0])  # Of the seeds, on all tasks alike.
    tasks = [
        cell(50 + effects[:, None] + np.zeros((3, n)), counts(rng, n, 200))
        for n in (100, 300)
    ]
    both = crossed.average(tasks, [0.5, 0.5])
    assert both.num_items == 100
    np.testing.assert_allclose(both.scores, 50 + effects)
    # As wide as each task's; independent tasks' would be narrower by sqrt(2).
    assert half(crossed.mean(both)) == pytest.approx(half(crossed.mean(tasks[0])))


def covered(seeds, spreads, *, shared, own, rest, draws=2000, num_items=150):
    """The share of 95 % intervals that hold the mean, or difference, of 0."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(draws):
        items = rng.normal(0, shared, num_items)
        drawn = counts(rng, num_items, 300)
        cells = [
            cell(
                rng.normal(0, spread, s)[:, None]
                + items
                + rng.normal(0, own, num_items)
                + rng.normal(0, rest, (s, num_items)),
                drawn,
            )
            for s, spread in zip(seeds, spreads, strict=True)
        ]
        found = crossed.mean(*cells) if len(cells) == 1 else crossed.difference(*cells)
        held += found.interval[0] <= 0 <= found.interval[1]
    return held / draws


_ITEMS = {"shared": 30.0, "own": 10.0, "rest": 40.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "spreads", "least", "most"),
    [
        # With 2,000 draws a share of 95 % has a standard error of 0.5 %.
        ((2,), (20.0,), 0.93, 0.97),
        ((3,), (20.0,), 0.93, 0.97),
        ((5,), (2.0,), 0.93, 0.975),
        ((3, 3), (20.0, 20.0), 0.93, 0.975),
        ((5, 5), (5.0, 5.0), 0.93, 0.97),
        ((3, 5), (20.0, 2.0), 0.92, 0.97),
        # Too wide: two or three seeds that differ little against their items.
        ((2,), (2.0,), 0.96, 0.995),
        ((3,), (2.0,), 0.95, 0.985),
        ((2, 2), (5.0, 5.0), 0.96, 0.99),
        # Too narrow: the cell that scatters ten times as much has the fewer seeds.
        ((2, 4), (20.0, 2.0), 0.87, 0.93),
    ],
)
def test_coverage(seeds, spreads, least, most):
    assert least <= covered(seeds, spreads, **_ITEMS) <= most
