"""The summary of several fine-tunings: groups, intervals, and what is unknown."""

import json

import numpy as np
import pytest
from scipy import stats

from clinometer.data.tasks import scores
from clinometer.train.downstream import best_scores
from clinometer.train.downstream import item_scores
from clinometer.train.downstream import summary as finetune_summary
from clinometer.train.run import record as run_record

_ITEMS = 400
_RTE = best_scores.Name("rte")


def best(values):
    """The best score of items with these values, where 1 is 100 %."""
    number = scores.mean(values)
    digests = np.arange(len(values), dtype=np.uint64)
    items = item_scores.ItemScores(number, {}, digests)
    return best_scores.BestScore(
        float(number), 5, number.standard_error, number.interval, items
    )


def run(seed, learning_rate, score, right=None, likelihoods=None, **changes):
    """A fine-tuning; `right` are the items that it has right, if they are known."""
    found = {_RTE: best_scores.BestScore(score, 5) if right is None else best(right)}
    if likelihoods is not None:
        found[best_scores.Name("rte", "likelihood")] = best(likelihoods)
    if score is None:
        found = {}
    record = run_record.from_json(
        {
            "format_version": 1,
            "model": "transformer-pico",
            "status": "finished",
            "seed": seed,
            "initial": {"step": 8},
            "config": {"schedule": {"learning_rate": learning_rate}},
            "data": {"tasks": {"rte": {}}},
            **changes,
        }
    )
    return finetune_summary.Finetuning(record, found)


def tasks(summary):
    return [entry["tasks"]["rte"] for entry in summary]


def test_from_scratch_is_a_group_of_its_own():
    scratch = run(0, 0.001, 50.0, initial=None)
    summary = finetune_summary.summarise([run(0, 0.001, 60.0), scratch])
    assert [entry["pretraining_step"] for entry in summary][1] is None
    assert "from scratch, lr 0.001" in finetune_summary.table(summary)


def test_two_seeds_that_differ_are_not_known_to_a_percent():
    """The sampling errors of these scores were 0.9 and 1.3."""
    summary = finetune_summary.summarise([run(0, 1e-3, 21.2), run(1, 1e-3, 39.4)])
    (entry,) = tasks(summary)
    assert entry["score"] == pytest.approx(30.3)
    expected = stats.ttest_1samp([21.2, 39.4], 0).confidence_interval(0.95)
    assert entry["interval"] == pytest.approx(list(expected))
    assert entry["unknown"] == "error due to the sampling of items unknown"
    text = finetune_summary.table(summary)
    assert "30.3 [-85.3, 145.9]" in text
    assert "rte, step 8, lr 0.001, 2 seeds: error due to" in text


def test_one_seed_has_no_error_between_seeds():
    right = np.arange(_ITEMS) < 240
    summary = finetune_summary.summarise([run(0, 1e-3, 0, right), run(0, 5e-4, 50.0)])
    known, unknown = tasks(summary)
    wilson = stats.binomtest(240, _ITEMS).proportion_ci(method="wilson")
    assert known["examples_interval"] == pytest.approx(
        [100 * wilson.low, 100 * wilson.high]
    )
    assert known["interval"] is None
    assert known["unknown"] == "between-seed error unknown"
    assert unknown["examples_interval"] is unknown["below_best"] is None
    text = finetune_summary.table(summary)
    assert "60.0 (55.1, 64.7)" in text and "between-seed error unknown" in text
    assert "+-" not in text and "<" not in text
    json.dumps(summary, allow_nan=False)


def test_a_constant_predictor_is_not_certain():
    never = np.zeros(_ITEMS)
    (entry,) = tasks(finetune_summary.summarise([run(0, 1e-3, 0, never)]))
    assert entry["examples_interval"] == pytest.approx([0, 100 * 3.8415 / 403.84], 1e-3)
    both = finetune_summary.summarise([run(s, 1e-3, 0, never) for s in (0, 1)])
    (entry,) = tasks(both)
    assert entry["interval"] is None
    assert "all seeds have the same score" in finetune_summary.table(both)


def test_what_is_below_the_best_is_judged_by_seeds_and_items():
    rng = np.random.default_rng(0)
    easy = rng.random(_ITEMS)

    def seeds(share, rate):
        return [
            run(s, rate, 0, easy + rng.normal(0, 0.05, _ITEMS) < share)
            for s in range(3)
        ]

    runs = [*seeds(0.8, 1e-3), *seeds(0.6, 5e-4), *seeds(0.79, 1e-4)]
    best, lower, near = tasks(finetune_summary.summarise(runs))
    assert (best["below_best"], lower["below_best"]) == (False, True)
    low, high = best["interval"]
    assert low < best["score"] < high and best["unknown"] is None
    assert near["below_best"] is False
    text = finetune_summary.table(finetune_summary.summarise(runs))
    rows = [line for line in text.splitlines() if line.startswith("rte")]
    assert rows[0].count("<") == 1 and "not adjusted" in text


def test_a_task_without_any_finite_score_is_null_with_its_reason():
    scored = run(0, 1e-3, 60.0)
    nowhere, half = run(1, 5e-4, None), run(1, 1e-3, None)
    for runs, ways in (([nowhere], 1), ([scored, nowhere], 1), ([scored, half], 2)):
        summary = finetune_summary.summarise(runs)
        entry = tasks(summary)[-1]
        assert entry["score"] is None
        reason = f"no finite score at any step in 1 of {ways} runs"
        assert entry["no_score"] == reason
        json.dumps(summary, allow_nan=False)
        text = finetune_summary.table(summary)
        assert reason in text
        assert ("60.0" in text) == (len(summary) == 2)


def test_a_likelihood_is_summarised_beside_its_score():
    """Of four examples, by hand; the runs of the second rate have none."""
    right, values = [1, 1, 0, 0], ([0.4, 0.2, -0.2, 0.4], [0.8, 0.4, 0.0, 0.4])
    runs = [run(s, 1e-3, 0.0, right, v) for s, v in enumerate(values)]
    summary = finetune_summary.summarise([*runs, run(0, 5e-4, 0.0, right)])
    with_it, without = tasks(summary)
    assert with_it["score"] == without["score"] == 50
    found = with_it["likelihood"]
    assert found["score"] == pytest.approx((20 + 40) / 2)
    assert found["interval"][0] < 30 < found["interval"][1]
    assert found["best_steps"] == [5, 5] and found["below_best"] is False
    assert without["likelihood"] is None
    text = finetune_summary.table(summary)
    (row,) = [t for t in text.splitlines() if t.startswith("rte, likelihood")]
    assert "30.0 [" in row and row.rstrip().endswith("-")
    assert "likelihood: 100 (1 + log p / log n) %" in text
    json.dumps(summary, allow_nan=False)
    plain = finetune_summary.table(finetune_summary.summarise([run(0, 5e-4, 60.0)]))
    assert "likelihood" not in plain
