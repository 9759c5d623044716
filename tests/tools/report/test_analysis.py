"""Compares lines through means of sizes with NumPy and hand-made cases."""

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.fit import errors
from clinometer.tools.report import analysis
from clinometer.tools.report import study_fit


def _rows(tmp_path, contents):
    for i, content in enumerate(contents):
        synthetic_study.write_run(tmp_path / f"run{i}", content)
    return synthetic_study.rows(tmp_path)


def _fits(rows, mixed=()):
    return analysis.fit_all(rows, study_fit.of_rows(rows, mixed), mixed)


def _ladder():
    return [synthetic_study.record(s) for s in synthetic_study.SIZES]


def _costs(contents, group, key):
    return np.array([content[group][key] for content in contents], np.float64)


def test_each_cost_has_the_slope_of_the_means(tmp_path):
    """One variance: least squares of the means, weighted by their numbers of runs."""
    contents = [*_ladder(), synthetic_study.record("pico", 1)]
    fits = _fits(_rows(tmp_path, contents))
    paths = {
        "training_flops": ("counts", "flops_train_step"),
        "flops": ("counts", "flops_forward"),
        "flops_non_embedding": ("counts", "flops_forward_non_embedding"),
        "parameters": ("counts", "params_total"),
        "time": ("wall_seconds", "step"),
        "multiply_adds": ("counts", "macs_forward_batch"),
    }
    assert [fit.cost.key for fit in fits] == list(paths)
    loss = np.array([c["metrics"]["validation/loss"] for c in contents])
    means = np.array([(loss[0] + loss[4]) / 2, *loss[1:4]])
    # Two runs of pico are the only replicates: one degree of freedom.
    sd = abs(loss[0] - loss[4]) / np.sqrt(2)
    root = np.diag([np.sqrt(2), 1, 1, 1])
    for fit in fits:
        model = np.stack(
            [np.ones(4), np.log10(_costs(contents[:4], *paths[fit.cost.key]))]
        )
        covariance = sd**2 * np.linalg.inv(model @ root**2 @ model.T)
        slope = (covariance / sd**2 @ model @ root**2 @ means)[1]
        reach = stats.t.ppf(0.975, 1) * np.sqrt(covariance[1, 1])
        np.testing.assert_allclose(fit.slope, -slope)
        np.testing.assert_allclose(
            [fit.line.low, fit.line.high], [-slope - reach, -slope + reach]
        )
        assert (len(fit.points), fit.runs) == (4, 5)
        # Mutation: runs as independent points have another interval.
        line = stats.linregress(np.log10(_costs(contents, *paths[fit.cost.key])), -loss)
        assert abs(stats.t.ppf(0.975, 3) * line.stderr / reach - 1) > 0.1
    # Against the FLOPs of the run and of its forward pass the slope is the same.
    assert len({round(fit.slope, 9) for fit in fits}) == 5


@pytest.mark.parametrize("bend", [0.0, 0.05])
def test_replicates_are_no_independent_points(tmp_path, bend):
    """The error is that between seven runs of one size, whatever the sizes do."""
    noise = np.array([-0.004, 0.001, 0.003, 0.005, -0.002, 0.002, -0.005])
    means = {"pico": 4.50, "nano": 4.416 - bend, "milli": 4.20}
    losses = {("transformer", "pico", 0, seed): 4.50 + noise[seed] for seed in range(7)}
    for size in ("nano", "milli"):
        losses["transformer", size, 0, 0] = means[size]
    synthetic_study.write_losses(tmp_path, losses)
    fit = _fits(synthetic_study.rows(tmp_path))[0]
    x = np.log10([point.cost for point in fit.points])
    center = np.average(x, weights=[7, 1, 1])
    squares = np.sum([7, 1, 1] * (x - center) ** 2)
    np.testing.assert_allclose(
        fit.slope, -np.sum([7, 1, 1] * (x - center) * [*means.values()]) / squares
    )
    np.testing.assert_allclose(
        fit.line.standard_error, noise.std(ddof=1) / np.sqrt(squares)
    )
    assert fit.line.degrees == pytest.approx(6)
    # Runs as points have 7 degrees of freedom, and an error that grows with the bend.
    points = [
        (x[i], y) for i, y in enumerate(means.values()) for _ in range([7, 1, 1][i])
    ]
    points = np.array(points) + np.pad(noise, (0, 2))[:, np.newaxis] * [0, 1]
    former = stats.linregress(*points.T).stderr
    assert (former > 2 * fit.line.standard_error) == (bend > 0)
    assert (fit.line.lack_of_fit_p < 0.05) == (bend > 0)


def test_runs_that_repeat_a_loss_exactly_narrow_no_interval(tmp_path):
    losses = {
        ("transformer", size, 0, seed): 4.5 - 0.1 * i
        for i, size in enumerate(synthetic_study.SIZES)
        for seed in range(3)
    }
    synthetic_study.write_losses(tmp_path, losses)
    for fit in _fits(synthetic_study.rows(tmp_path)):
        assert fit.line is None and "do not differ at all" in fit.reason


def test_without_replicates_there_is_a_slope_without_an_interval(tmp_path):
    contents = _ladder()
    fits = _fits(_rows(tmp_path, contents))
    loss = [c["metrics"]["validation/loss"] for c in contents]
    x = np.log10(_costs(contents, "counts", "flops_train_step"))
    assert fits[0].slope == pytest.approx(-stats.linregress(x, loss).slope)
    assert fits[0].line is None and "no replicates" in fits[0].reason


def test_orders_are_taken_off(tmp_path):
    """Pico in two orders, the others in one: least squares with a dummy variable."""
    losses = {
        ("transformer", "pico", 1, 1): 4.40,
        ("transformer", "pico", 1, 2): 4.42,
        ("transformer", "pico", 2, 3): 4.50,
        ("transformer", "nano", 2, 4): 4.39,
        ("transformer", "milli", 2, 5): 4.31,
    }
    synthetic_study.write_losses(tmp_path, losses)
    (fit, *_) = _fits(synthetic_study.rows(tmp_path))
    # Nano and milli at the average of the orders; order 2 is worse by 0.09.
    expected = [(4.41 + 4.50) / 2, 4.39 - 0.045, 4.31 - 0.045]
    np.testing.assert_allclose([point.loss for point in fit.points], expected)


def test_noisy_runs_leave_the_time_fit_alone(tmp_path):
    contents = [*_ladder(), synthetic_study.record("pico", 1, speed__noisy=True)]
    for fit in _fits(_rows(tmp_path, contents)):
        is_time = fit.cost.key == "time"
        assert fit.runs == (4 if is_time else 5)
        why = {"run4": "its speed is noisy or was measured beside other work"}
        assert fit.left_out == (why if is_time else {})


def test_unfinished_runs_stand_in_no_fit(tmp_path):
    contents = [*_ladder()[:3], synthetic_study.record("milli", status="stopped")]
    fits = _fits(_rows(tmp_path, contents))
    assert {fit.runs for fit in fits} == {3}
    why = {"run3": "stopped at step 600 of 600"}
    assert all(fit.left_out == why for fit in fits)


def test_too_few_points_say_why(tmp_path):
    seeds = [synthetic_study.record("pico", seed) for seed in (1, 2)]
    rows = _rows(tmp_path, [*_ladder()[:2], *seeds])
    fits = _fits(rows)
    assert all(fit.line is None and fit.slope is not None for fit in fits)
    assert "needs 3 or more sizes; transformer has 2" in fits[0].reason
    (alone, *_) = _fits([row for row in rows if row["size"] == "pico"])
    assert alone.slope is None and "2 or more sizes, got 1" in alone.reason


def test_runs_of_one_model_are_one_cost_however_long_they_took(tmp_path):
    record = synthetic_study.record
    picos = [record("pico", 0), record("pico", 1, speed__steps_per_second_median=0.5)]
    (time,) = [f for f in _fits(_rows(tmp_path, picos)) if f.cost.is_time]
    (point,) = time.points
    seconds = [600 / picos[0]["speed"]["steps_per_second_median"], 1200]
    assert point.cost == pytest.approx(np.mean(seconds))
    assert time.slope is None and "2 or more sizes, got 1" in time.reason


def test_other_corpora_are_refused(tmp_path):
    contents = [*_ladder(), synthetic_study.record("pico", 1, data__corpus_hash="odd")]
    with pytest.raises(errors.FitError, match="odd: run4"):
        study_fit.of_rows(_rows(tmp_path, contents))


def test_runs_under_several_conditions_have_no_interval(tmp_path):
    contents = [
        synthetic_study.record("pico", config__schedule={"learning_rate": rate})
        for rate in (0.006, 0.03)
    ]
    contents.append(
        synthetic_study.record("nano", config__schedule={"learning_rate": 0.006})
    )
    rows = _rows(tmp_path, contents)
    # Two rates of one model are no replicates, although they may share a line.
    mixed = ("rate_protocol", "learning_rate")
    (fit, *_) = _fits(rows, mixed)
    assert len(fit.points) == 3 and fit.line is None
    assert "protocol of the learning rate (rate_protocol)" in fit.reason
    with pytest.raises(errors.FitError, match=r"\(rate_protocol\). fixed at 0.006"):
        study_fit.of_rows(rows)


def test_the_primary_cost_is_that_of_the_whole_run(tmp_path):
    record = synthetic_study.record()
    (row,) = _rows(tmp_path, [record])
    expected = 600 * record["counts"]["flops_train_step"]
    assert row["training_flops"] == expected
    assert row["papers_macs_forward_batch"] == record["counts"]["macs_forward_batch"]
    fits = _fits([row])
    assert fits[0].cost.column == "training_flops"
    assert "papers" in fits[-1].cost.title and "128" in fits[-1].cost.axis
    # A run that stopped has paid for its own steps only.
    stopped = synthetic_study.record(status="stopped", metrics__step=40)
    (row,) = _rows(tmp_path / "stopped", [stopped])
    assert row["training_flops"] == expected / 15


def test_several_devices_share_no_fit_against_time(tmp_path):
    contents = _ladder()
    contents[3]["device"]["host_cpu"] = "Another"
    rows = _rows(tmp_path, contents)
    for fit in _fits(rows):
        assert (fit.slope is None) == fit.cost.is_time
        if fit.cost.is_time:
            assert "processor (host_cpu)" in fit.reason
            assert "Another: run3" in fit.reason
            assert "--mixed host_cpu" in fit.reason
    assert all(fit.slope is not None for fit in _fits(rows, ("host_cpu",)))


def test_an_architecture_whose_runs_all_failed_is_in_every_fit(tmp_path):
    lost = synthetic_study.record("pico", architecture="mos", status="failed")
    fits = _fits(_rows(tmp_path, [*_ladder(), lost]))
    assert {fit.architecture for fit in fits} == {"transformer", "mos"}
    assert all(fit.left_out for fit in fits if fit.architecture == "mos")
    assert "got 0" in fits[0].reason
