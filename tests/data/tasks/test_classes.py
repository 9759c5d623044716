"""T5's template of a classification task, and its scores."""

import pytest

from clinometer.data.tasks import classes
from clinometer.data.tasks.task import Dropped
from clinometer.data.tasks.task import Example
from clinometer.data.tasks.task import Row

LABELS = ("no", "yes")


def test_template_keeps_the_order_of_its_keys():
    examples = classes.template("toy", ["b", "a"], LABELS)
    assert list(examples(Row({"a": "x", "b": "y", "label": "1"}, "f:1"))) == [
        Example("toy b: y a: x", "yes", 1)
    ]
    assert list(examples(Row({"a": "x", "b": "y"}, "f:1"))) == [
        Example("toy b: y a: x", "<unk>", None)
    ]


def test_rows_without_a_gold_label_are_dropped():
    examples = classes.template("toy", ["a"], LABELS, unlabeled={"-": "no gold"})
    assert list(examples(Row({"a": "x", "label": "-"}, "f:1"))) == [
        Dropped("f:1", "no gold")
    ]


def test_score_of_worked_predictions():
    examples = [Example("", LABELS[k], k) for k in (1, 1, 0, 0)]
    said = ["yes", "no", "no", "Yes"]  # the last is no label: wrong
    found = classes.score(LABELS, "accuracy", "f1", "f1_macro", "matthews")(
        examples, said
    )
    assert found["accuracy"] == 50
    # Class 1, the invalid one counted as yes: 1 hit of 2 said and 2 true.
    assert found["f1"] == pytest.approx(50)
    # Per class 2*1/(1+2) and 2*1/(2+2).
    assert found["f1_macro"] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)
    assert 0 < found["matthews"] < 100
