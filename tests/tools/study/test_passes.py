"""Compares which passes are complete with lists written by hand."""

import json

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.study import passes
from clinometer.tools.study import plan

_PLANNED = {"a-o1": 1, "b-o1": 1, "a-o2": 2, "a-o3": 3, "b-o3": 3}


@pytest.mark.parametrize(
    ("over", "diverged", "complete"),
    [
        ([], [], 0),
        (["a-o1"], [], 0),
        (["a-o1", "b-o1"], [], 1),
        (["a-o1", "b-o1", "a-o3", "b-o3"], [], 1),
        (["a-o1", "b-o1", "a-o2", "a-o3"], [], 2),
        (["a-o1", "a-o2", "a-o3", "b-o3"], ["b-o1"], 3),
        ([], list(_PLANNED), 3),
    ],
)
def test_complete_passes(over, diverged, complete):
    found = passes.standing(_PLANNED, over, diverged)
    assert (found.complete, found.planned) == (complete, 3)
    assert found.diverged == tuple(sorted(diverged))
    assert f"complete passes: {complete} of 3" in found.told


def test_runs_are_split_by_pass():
    runs = plan.plan_orders("a", ["x", "y"], [3, 1], 1)
    split = passes.split(runs)
    assert [[run.name for run in part] for part in split] == [
        ["a-x-o1-s100", "a-y-o1-s100"],
        ["a-x-o2-s200"],
        ["a-x-o3-s300"],
    ]


def test_a_folder_s_records_say_what_is_over(tmp_path):
    assert passes.of_folder(tmp_path).planned == 0
    statuses = {"a": "finished", "b": "failed", "c": "running"}
    for name, status in statuses.items():
        error = "DivergedError: nan" if status == "failed" else None
        record = synthetic_study.record(status=status, error=error)
        synthetic_study.write_run(tmp_path / "runs" / name, record)
    planned = {"a": 1, "b": 1, "c": 2, "d": 2}
    (tmp_path / "study.json").write_text(json.dumps({"passes": planned}))
    found = passes.of_folder(tmp_path)
    assert (found.complete, found.planned, found.diverged) == (1, 2, ("b",))
