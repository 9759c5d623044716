"""Averages, compared with the tables of Tay et al. 2021."""

import math
import re

import numpy as np
import pytest

from clinometer.data.errors import DataError
from clinometer.data.mixtures import aggregates
from clinometer.data.tasks import metrics
from clinometer.data.tasks import scores

# Tay et al. 2021, Table 4: GLUE, SuperGLUE, SQuAD and the printed Avg.
TABLE_4 = {
    "Small": (77.45, 62.88, 80.39, 73.57),
    "Mini-8L": (77.11, 63.35, 80.12, 73.52),
    "Base": (82.53, 69.80, 85.14, 79.16),
    "Small 16L": (82.57, 69.51, 84.12, 78.73),
    "Small 20L": (83.22, 69.44, 85.23, 79.30),
    "Small 22L": (82.52, 70.68, 85.39, 79.54),
    "Small 24L": (83.11, 71.11, 85.45, 79.92),
    "Small 32EL": (82.77, 70.66, 86.01, 79.81),
    "Large": (85.08, 75.97, 87.55, 82.87),
    "Base 36L": (85.26, 75.57, 87.84, 82.89),
    "XL": (86.49, 77.99, 88.70, 84.38),
    "Large 36L": (87.22, 79.34, 89.21, 85.27),
    "XXL": (86.91, 79.20, 89.50, 85.20),
    "XL 32L": (86.94, 79.87, 89.46, 85.42),
}
# Rows whose printed Avg is not the mean of the printed parts, and that mean.
NOT_THE_MEAN = {"Small 24L": 79.89, "XL": 84.39, "Large 36L": 85.26}
# Tay et al. 2021, Table 6: Base and Small 24L ("DeepNarrow").
TABLE_6 = {
    "xsum": (32.3, 33.1),
    "cnn_dailymail": (38.9, 38.9),
    "multi_news": (20.2, 20.5),
    "civil_comments": (88.2, 88.4),
    "wiki_toxicity": (95.4, 95.4),
    "imdb": (94.4, 94.4),
    "anli": (65.7, 65.7),
    "cosmosqa": (69.9, 70.0),
    "hellaswag": (49.7, 48.9),
    "physicaliqa": (73.7, 74.4),
    "socialiqa": (65.1, 66.0),
    "winogrande": (65.3, 65.9),
}


def _numbers(glue, superglue, squad):
    """Tasks' numbers whose benchmarks have these averages."""
    numbers = {"squad": squad}
    for tasks, value in ((aggregates.GLUE, glue), (aggregates.SUPERGLUE, superglue)):
        numbers |= {task: value + k - 3.5 for k, task in enumerate(tasks)}
    return numbers


@pytest.mark.parametrize("row", TABLE_4)
def test_table_4(row):
    glue, superglue, squad, printed = TABLE_4[row]
    made = aggregates.summary(_numbers(glue, superglue, squad))
    assert made["glue"].value == pytest.approx(glue)
    assert made["superglue"].value == pytest.approx(superglue)
    assert (abs((glue + superglue + squad) / 3 - printed) > 0.0101) == (
        row in NOT_THE_MEAN
    )
    expected = NOT_THE_MEAN.get(row, printed)
    rounding = 0.0101  # half a unit of the last place, and as much again of the parts
    assert made["avg"].value == pytest.approx(expected, abs=rounding)


@pytest.mark.parametrize(
    ("column", "computed", "printed"), [(0, 63.23, 63.2), (1, 63.47, 63.5)]
)
def test_table_6(column, computed, printed):
    numbers = {task: values[column] for task, values in TABLE_6.items()}
    value = aggregates.summary(numbers)["twelve"].value
    assert value == pytest.approx(computed, abs=0.005)  # its last place
    assert round(value, 1) == printed


def test_the_tables_are_those_of_the_collection(shared_dir):
    text = (shared_dir / "spec/published.md").read_text(encoding="utf-8")
    for name, values in TABLE_4.items():
        row = " ".join(re.escape(f"{value:.2f}") + r" \|" for value in values)
        assert re.search(rf"\| {name} \|.*\| {row}", text), name


def test_benchmarks_have_their_tasks():
    assert len(aggregates.GLUE) == len(aggregates.SUPERGLUE) == 8
    assert len(aggregates.TWELVE) == len(set(aggregates.TWELVE)) == 12
    assert not set(aggregates.GLUE) & set(aggregates.SUPERGLUE)
    assert "wnli" not in aggregates.GLUE and "dpr" not in aggregates.SUPERGLUE


@pytest.mark.parametrize("name", [*aggregates.AVERAGES, aggregates.OVERALL_NAME])
def test_weights_give_the_averages(name):
    rng = np.random.default_rng(0)
    tasks = {task for part in aggregates.AVERAGES.values() for task in part}
    numbers = {task: float(x) for task, x in zip(sorted(tasks), rng.random(len(tasks)))}
    weights = aggregates.weights(name)
    value = sum(weight * numbers[task] for task, weight in weights.items())
    assert value == pytest.approx(aggregates.summary(numbers)[name].value)
    assert set(weights) <= tasks


def test_metrics_of_a_task_are_averaged_first():
    mrpc = {"f1": 90.0, "accuracy": 86.0, "other": 0.0}
    assert aggregates.task_number(mrpc, ("f1", "accuracy")) == 88
    answers, predictions = [1, 0, 1, 1, 0, 1], [1, 1, 1, 0, 0, 1]
    made = {
        "f1": metrics.f1_binary(answers, predictions),
        "accuracy": metrics.accuracy(answers, predictions),
    }
    number = aggregates.task_number(made, ("f1", "accuracy"))
    assert number == pytest.approx((75 + 100 * 4 / 6) / 2)
    assert scores.standard_error(number) > 0


def test_a_missing_task_leaves_its_averages_out():
    numbers = _numbers(80.0, 60.0, 70.0)
    del numbers["wsc"]
    assert set(aggregates.summary(numbers)) == {"glue", "squad"}
    assert aggregates.average(numbers, ("cola", "wsc")) is None
    assert aggregates.summary({}) == {}


def test_the_error_of_independent_tasks():
    values = np.random.default_rng(0).random((2, 200))
    numbers = {"cola": scores.mean(values[0]), "rte": scores.mean(values[1])}
    made = aggregates.average(numbers, ("cola", "rte"))
    assert made.value == pytest.approx(100 * values.mean())
    expected = math.hypot(*(score.standard_error for score in numbers.values())) / 2
    assert made.standard_error == pytest.approx(expected)
    assert math.isnan(aggregates.average({"cola": 3.0}, ("cola",)).standard_error)


def test_a_missing_metric_is_an_error():
    with pytest.raises(DataError, match="mean of em, f1, but f1 is missing"):
        aggregates.task_number({"em": 3.0}, ("em", "f1"))
    with pytest.raises(DataError, match="no metric"):
        aggregates.task_number({"em": 3.0}, ())
