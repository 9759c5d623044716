"""Tests of task scores: the best in a log, the selected examples, the summary."""

import dataclasses
import json
import math

import pytest

from clinometer.data.tasks import registry
from clinometer.data.tasks import task as task_lib
from clinometer.train import errors
from clinometer.train.downstream import examples as downstream_examples
from clinometer.train.downstream import scorer as downstream
from clinometer.train.downstream import summary as finetune_summary
from clinometer.train.run import record as run_record


def test_best_and_last_of_a_log():
    records = [
        {"step": 1, "train/loss": 3.0},
        {
            "step": 4,
            "downstream/rte": 60.0,
            "downstream/rte/accuracy": 60.0,
            "downstream/rte/standard_error": 3.0,
            "downstream/squad": 10.0,
            "downstream/glue": 1.0,
        },
        {
            "step": 8,
            "downstream/rte": 55.0,
            "downstream/rte/standard_error": 2.0,
            "downstream/squad": 20.0,
        },
    ]
    found = downstream.best(records).tasks
    assert found["rte"].to_json() == {
        "best": 60.0,
        "best_step": 4,
        "last": 55.0,
        "standard_error": 3.0,
    }
    assert found["squad"].best_step == 8 and set(found) == {"rte", "squad"}
    assert downstream.best(records[:1]) is None


def test_groups_stay_whole_when_few_are_taken():
    examples = [task_lib.Example(f"{i}", "", 0, group=i // 3) for i in range(30)]
    chosen = downstream_examples.spread(examples, 9)
    assert len(chosen) == 9
    assert len({x.group for x in chosen}) == 3
    alone = [task_lib.Example(f"{i}", "", 0) for i in range(10)]
    assert [x.inputs for x in downstream_examples.spread(alone, 5)] == list("02468")
    assert downstream_examples.spread(alone, None) == alone


def test_what_cannot_be_scored_is_found_before_training():
    rte = registry.get("rte")
    examples = [task_lib.Example("", "entailment", 0)]

    def tried(score, averaged=("accuracy",)):
        task = dataclasses.replace(rte, score=score, averaged=averaged)
        downstream_examples.try_score(task, examples)

    tried(rte.score)
    for score, message in (
        (lambda examples, said: {"f1": 1.0}, "rte: .* but accuracy is missing"),
        (lambda examples, said: 0.5, "rte: its score is 0.5; accepted: a mapping"),
        (lambda examples, said: {"accuracy": "1"}, "rte: its score is .* numbers"),
        (
            lambda examples, said: {"accuracy": math.nan},
            "targets as predictions gives .*nan",
        ),
    ):
        with pytest.raises(errors.RunError, match=message):
            tried(score)

    def fails(examples, said):
        raise KeyError("nobody expected it")

    with pytest.raises(KeyError) as caught:
        tried(fails)
    assert caught.value.__notes__ == ["Task 'rte' was scoring 1 predictions."]
    assert caught.traceback[-1].name == "fails"


def test_the_majority_gives_the_commonest_target_of_training():
    rte = registry.get("rte")

    def rows(*answers):
        return [task_lib.Example("", rte.labels[a], a) for a in answers]

    assert downstream_examples.majority(rte, rows(0, 1, 1), rows(1, 0, 0, 0)) == 25.0
    assert downstream_examples.majority(rte, rows(0, 0, 1), rows(1, 0, 0, 0)) == 75.0
    summaries = [task_lib.Example("", f"summary {i}", "") for i in range(9)]
    assert (
        downstream_examples.majority(registry.get("xsum"), summaries, summaries) is None
    )


def run(seed, learning_rate, score, error, **changes):
    entry = {"best": score, "best_step": 5, "last": score, "standard_error": error}
    return run_record.from_json(
        {
            "format_version": 1,
            "model": "transformer-pico",
            "status": "finished",
            "seed": seed,
            "initial": {"step": 8},
            "config": {"schedule": {"learning_rate": learning_rate}},
            "data": {"tasks": {"rte": {}}},
            "downstream": {"tasks": {"rte": entry}},
            **changes,
        }
    )


def test_from_scratch_is_a_group_of_its_own():
    scratch = run(0, 0.001, 50.0, 2.0, initial=None)
    summary = finetune_summary.summarise([run(0, 0.001, 60.0, 2.0), scratch])
    assert [entry["pretraining_step"] for entry in summary][1] is None
    assert "from scratch, lr 0.001" in finetune_summary.table(summary)


def test_no_difference_is_one_within_its_error():
    runs = [
        run(0, 1e-3, 60.0, 3.0),
        run(1, 1e-3, 62.0, 3.0),
        run(0, 5e-4, 66.0, 3.0),
        run(1, 5e-4, 67.0, 3.0),
        run(0, 1e-4, 50.0, 3.0),
    ]
    summary = finetune_summary.summarise(runs)
    entries = [entry["tasks"]["rte"] for entry in summary]
    assert [e["score"] for e in entries] == [61.0, 66.5, 50.0]
    # 2 ** 0.5 between two seeds that differ by 2, over the root of 2.
    assert entries[0]["seeds_error"] == pytest.approx(1.0)
    assert entries[0]["standard_error"] == 3.0
    # 5.5 is less than twice the 4.2 of the difference; 16.5 is more.
    assert not finetune_summary.different(entries[0], entries[1])
    assert finetune_summary.different(entries[1], entries[2])
    text = finetune_summary.table(summary)
    assert "61.0 +- 3.0  " in text and "50.0 +- 3.0 <" in text


def test_an_error_that_nobody_knows_is_null_with_its_reason():
    summary = finetune_summary.summarise([run(0, 1e-3, 60.0, None)])
    (entry,) = [entry["tasks"]["rte"] for entry in summary]
    assert entry["standard_error"] is entry["examples_error"] is None
    assert entry["no_examples_error"]
    json.dumps(summary, allow_nan=False)
    assert "60.0 +- -" in finetune_summary.table(summary)
    two = finetune_summary.summarise([run(0, 1e-3, 60.0, None), run(1, 1e-3, 62, None)])
    assert two[0]["tasks"]["rte"]["standard_error"] == pytest.approx(1.0)
    assert not finetune_summary.different(entry, two[0]["tasks"]["rte"])


def test_a_task_without_any_finite_score_is_null_with_its_reason():
    scored = run(0, 1e-3, 60.0, 2.0)
    # As returned by `best` if no step had a finite score.
    nowhere = run(1, 5e-4, 0.0, 0.0, downstream=None)
    half = run(1, 1e-3, 0.0, 0.0, downstream={"tasks": {}})
    for runs, ways in (([nowhere], 1), ([scored, nowhere], 1), ([scored, half], 2)):
        summary = finetune_summary.summarise(runs)
        entry = summary[-1]["tasks"]["rte"]
        assert entry["score"] is entry["standard_error"] is None
        reason = f"no finite score at any step in 1 of {ways} runs"
        assert entry["no_score"] == reason
        json.dumps(summary, allow_nan=False)
        text = finetune_summary.table(summary)
        assert reason in text
        assert ("60.0 +- 2.0" in text) == (len(summary) == 2)
