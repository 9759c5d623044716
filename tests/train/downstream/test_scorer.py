"""Tests of task scores: the best in a log, and the selected examples."""

import dataclasses
import math

import pytest

from clinometer.data.tasks import registry
from clinometer.data.tasks import task as task_lib
from clinometer.train import errors
from clinometer.train.downstream import examples as downstream_examples
from clinometer.train.downstream import scorer as downstream


def test_best_and_last_of_a_log():
    records = [
        {"step": 1, "train/loss": 3.0},
        {
            "step": 4,
            "downstream/rte": 60.0,
            "downstream/rte/accuracy": 60.0,
            "downstream/rte/standard_error": 3.0,
            "downstream/rte/low": 54.0,
            "downstream/rte/high": 66.0,
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
        "low": 54.0,
        "high": 66.0,
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
