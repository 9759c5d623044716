"""Means over seeds and differences of architectures, against NumPy and SciPy."""

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import build
from clinometer.tools.report import downstream
from clinometer.tools.report import downstream_cells
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib

_TASKS = ("acceptability", "cloze", "same_document")
_ITEMS = 300
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
    found = cell.estimate("cloze")
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
    average = cell.estimate("probes")
    assert average.standard_error > 0.9 * found.standard_error
    page = build.build(tmp_path).page.read_text(encoding="utf-8")
    assert f"{found.value:.1f} [{low:.1f}, {high:.1f}]" in page
    assert "probes" in page


def test_one_seed_says_that_its_error_is_unknown(tmp_path):
    write(tmp_path, 0, 0.6)
    (cell,) = cells(tmp_path)
    assert cell.seeds == 1
    found = cell.estimate("cloze")
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
        both.scores["cloze"].scores[0], alone.scores["cloze"].scores.mean()
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
    found = difference.estimates["cloze"]
    own = {cell.model: cell.estimate("cloze") for cell in cells(tmp_path)}
    expected = own["glu-pico"].value - own["transformer-pico"].value
    assert found.value == pytest.approx(expected)
    # The items' ease, which both share, cancels.
    unpaired = np.hypot(*(estimate.standard_error for estimate in own.values()))
    assert found.standard_error < 0.5 * unpaired
    assert "probes" in difference.estimates
    page = build.build(tmp_path).page.read_text(encoding="utf-8")
    assert "paired by example" in page
