"""Means over seeds and differences of architectures, against NumPy and SciPy."""

import csv

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import build
from clinometer.tools.report import downstream
from clinometer.tools.report import downstream_cells
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib
from clinometer.train.downstream import best_scores
from clinometer.train.downstream import likelihood as likelihood_lib

_TASKS = ("acceptability", "cloze", "same_document")
_ITEMS = 300
_CLOZE = best_scores.Name("cloze")
_PROBES = best_scores.Name("probes")
_EASE = np.random.default_rng(9).random((3, _ITEMS))


def right(seed, share):
    """The items of the three tasks that a seed has right; seeds share their ease."""
    rng = np.random.default_rng(seed)
    return {
        task: ease + rng.normal(0, 0.1, _ITEMS) < share
        for task, ease in zip(_TASKS, _EASE)
    }


def write(folder, seed, share, architecture="transformer", tunings=1, **changes):
    """Writes a run of pico and its fine-tunings."""
    record = synthetic_study.record("pico", seed, architecture, **changes)
    name = f"{architecture}-pico-s{seed}"
    run = synthetic_study.write_run(folder / "runs" / name, record)
    for k in range(tunings):
        items = right([seed, k, len(architecture)], share)
        synthetic_study.write_finetuning(run, {}, f"t{k}", seed=k, items=items)
    return run


def cells(folder):
    runs = records.load_runs(folder)
    scores = downstream.read(runs)
    rows = [{**rows_lib.make_row(run), "copy_of": None} for run in runs]
    return downstream_cells.cells(scores, rows)


def test_seeds_of_a_model_have_an_interval(tmp_path):
    shares = (0.5, 0.7, 0.6)
    for seed, share in enumerate(shares):
        write(tmp_path, seed, share)
    (cell,) = cells(tmp_path)
    assert (cell.seeds, cell.of_finetuning, cell.size) == (3, False, "pico")
    table = np.array([right([s, 0, 11], x)["cloze"] for s, x in enumerate(shares)])
    found = cell.estimate(_CLOZE)
    assert found.value == pytest.approx(100 * table.mean())
    # A balanced two-way table: seeds of 3, and items of 300.
    seeds = 1e4 * table.mean(axis=1).var(ddof=1) / 3
    shared = np.cov(table)
    items = 1e4 * (shared.sum() - np.trace(shared)) / 6 / _ITEMS
    reach = np.sqrt(
        stats.t.ppf(0.975, 2) ** 2 * seeds + stats.t.ppf(0.975, 299) ** 2 * items
    )
    low, high = found.interval
    assert (high - low) / 2 == pytest.approx(reach, rel=0.02)
    # Seeds that are better at one task are better at all: no independent errors.
    average = cell.estimate(_PROBES)
    assert average.standard_error > 0.9 * found.standard_error
    page = build.build(tmp_path).page.read_text(encoding="utf-8")
    assert f"{found.value:.1f} [{low:.1f}, {high:.1f}]" in page
    assert "probes" in page


def test_one_seed_says_that_its_error_is_unknown(tmp_path):
    write(tmp_path, 0, 0.6)
    (cell,) = cells(tmp_path)
    assert cell.seeds == 1
    found = cell.estimate(_CLOZE)
    assert (found.interval, found.unknown) == (None, "between-seed error unknown")
    assert found.items_interval is not None
    page = build.build(tmp_path).page.read_text(encoding="utf-8")
    assert "between-seed error unknown" in page and "1, error unknown" in page


def test_what_are_no_seeds_of_a_cell(tmp_path):
    write(tmp_path, 0, 0.6, tunings=2)
    (alone,) = cells(tmp_path)
    assert (alone.seeds, alone.of_finetuning) == (2, True)
    write(tmp_path, 1, 0.6)
    (both,) = cells(tmp_path)
    # The fine-tunings of one run are averaged.
    assert (both.seeds, both.of_finetuning) == (2, False)
    np.testing.assert_allclose(
        both.scores[_CLOZE].scores[0], alone.scores[_CLOZE].scores.mean()
    )
    write(tmp_path, 2, 0.6, counts__batch_size=8)
    write(tmp_path, 3, 0.6, status="running")
    assert sorted(cell.seeds for cell in cells(tmp_path)) == [1, 2]


def test_architectures_are_compared_by_item(tmp_path):
    for seed in range(3):
        write(tmp_path, seed, 0.6)
        write(tmp_path, seed, 0.7, "glu")
    (difference,) = downstream_cells.differences(cells(tmp_path))
    assert (difference.model, difference.reference) == ("glu-pico", "transformer-pico")
    found = difference.estimates[_CLOZE]
    own = {cell.model: cell.estimate(_CLOZE) for cell in cells(tmp_path)}
    expected = own["glu-pico"].value - own["transformer-pico"].value
    assert found.value == pytest.approx(expected)
    # The items' ease, which both share, cancels.
    unpaired = np.hypot(*(estimate.standard_error for estimate in own.values()))
    assert found.standard_error < 0.5 * unpaired
    assert _PROBES in difference.estimates
    page = build.build(tmp_path).page.read_text(encoding="utf-8")
    assert "paired by example" in page


def write_likelihoods(folder, values, likelihoods, architecture="transformer"):
    """Writes runs whose two tasks have these items; likelihoods only of one task."""
    for seed, (right, likelihood) in enumerate(zip(values, likelihoods, strict=True)):
        name = f"{architecture}-pico-s{seed}"
        record = synthetic_study.record("pico", seed, architecture)
        run = synthetic_study.write_run(folder / "runs" / name, record)
        items = {"cloze": np.array(right), "xsum": np.array(right)}
        given = {} if likelihood is None else {"cloze": np.array(likelihood)}
        synthetic_study.write_finetuning(run, {}, items=items, likelihoods=given)


def test_a_likelihood_stands_beside_its_score(tmp_path):
    right = ([1, 1, 0, 0], [1, 0, 0, 0])
    # By hand: the means of the seeds are 20 and 40 %, then 60 and 70 %.
    vanilla = ([0.4, 0.2, 0.0, 0.2], [0.8, 0.4, 0.0, 0.4])
    glu = ([0.9, 0.6, 0.3, 0.6], [0.8, 0.7, 0.6, 0.7])
    write_likelihoods(tmp_path, right, vanilla)
    write_likelihoods(tmp_path, right, glu, "glu")
    name = best_scores.Name("cloze", "likelihood")
    found = cells(tmp_path)
    of_model = {cell.model: cell for cell in found}
    assert set(of_model["glu-pico"].scores) == {
        *(_CLOZE, name, best_scores.Name("xsum"))
    }
    assert of_model["transformer-pico"].estimate(_CLOZE).value == pytest.approx(37.5)
    one = of_model["transformer-pico"].estimate(name)
    assert one.value == pytest.approx(30)
    # The seeds' part is 20^2 / 2 / 2. The items' covariance of the two seeds, whose
    # values are proportional, is 2 var(0.4, 0.2, 0, 0.2) / 4 = 2 x 0.02 / 4.
    seeds, items = 100, 1e4 * 2 * 0.02 / 4
    assert one.standard_error == pytest.approx(np.sqrt(seeds + items), rel=0.02)
    (difference,) = downstream_cells.differences(found)
    assert difference.estimates[name].value == pytest.approx(65 - 30)
    assert difference.estimates[_CLOZE].value == pytest.approx(0)
    report = build.build(tmp_path)
    page = report.page.read_text(encoding="utf-8")
    low, high = one.interval
    assert f"30.0 [{low:.1f}, {high:.1f}]" in page
    assert (
        page.count('class="h">Cloze, likelihood<') == 3
        and "XSum, likelihood" not in page
    )
    assert "Likelihood: 100 (1 + log p / log n) %" in page and "+35.0" in page
    with open(tmp_path / "downstream.csv", encoding="utf-8", newline="") as file:
        lines = [row for row in csv.DictReader(file) if row["metric"] == "likelihood"]
    assert [(row["task"], row["majority"]) for row in lines] == 4 * [("cloze", "")]
    values = sorted(float(row["score"]) for row in lines)
    assert values == pytest.approx([20, 40, 60, 70])
    # The average of runs.csv is that of the scores.
    assert {row["downstream_average"] for row in report.rows} == {None}


def test_a_likelihood_that_a_seed_lacks_is_left_out(tmp_path):
    right = ([1, 1, 0, 0], [1, 0, 0, 0])
    write_likelihoods(tmp_path, right, ([0.4, 0.2, 0.0, 0.2], None))
    (cell,) = cells(tmp_path)
    assert set(cell.scores) == {_CLOZE, best_scores.Name("xsum")}


def test_records_without_likelihoods_show_none(tmp_path):
    write_likelihoods(tmp_path, ([1, 1, 0, 0],), (None,))
    page = build.build(tmp_path).page.read_text(encoding="utf-8")
    # Only the laws of scores speak of likelihoods, and say that there are none.
    assert ", likelihood<" not in page
    assert likelihood_lib.EXPLANATION.capitalize() not in page


def test_likelihoods_have_the_averages_of_their_tasks(tmp_path):
    run = synthetic_study.write_run(tmp_path / "a", synthetic_study.record())
    synthetic_study.write_finetuning(
        run,
        {},
        items={task: np.array([1, 0]) for task in _TASKS},
        likelihoods={t: np.array([x, x]) for t, x in zip(_TASKS, (0.1, 0.2, 0.6))},
    )
    (cell,) = cells(tmp_path)
    name = best_scores.Name("probes", "likelihood")
    assert cell.estimate(name).value == pytest.approx(30)
    assert cell.estimate(_PROBES).value == pytest.approx(50)
