"""Tests the names of scores for readers."""

import csv

from clinometer.data.mixtures import aggregates
from clinometer.data.tasks import registry
from clinometer.tools.report import score_names
from clinometer.tools.results import published


def test_every_task_average_and_published_score_has_a_name():
    with open(published.FILE, encoding="utf-8") as file:
        columns = next(csv.reader(file))
    printed = {c.removeprefix("score_") for c in columns if c.startswith("score_")}
    names = {*registry.names(), *aggregates.AVERAGES, *printed}
    labels = {name: score_names.label(name) for name in names}
    # None is the name in files, with its underscores, and no two are alike.
    assert all(
        label not in (name, name.replace("_", " ")) for name, label in labels.items()
    )
    assert len(set(labels.values())) == len(names)


def test_names_with_a_metric_or_as_a_column():
    assert score_names.label("score_superglue") == "SuperGLUE"
    assert score_names.label("superglue_rte, likelihood") == "SuperGLUE RTE, likelihood"
    assert score_names.label("my_task") == "my task"


def test_averages_come_first_and_a_likelihood_after_its_score():
    names = ["boolq", "superglue, likelihood", "boolq, likelihood", "superglue"]
    assert sorted(names, key=score_names.order) == [
        *("superglue", "superglue, likelihood", "boolq", "boolq, likelihood")
    ]
