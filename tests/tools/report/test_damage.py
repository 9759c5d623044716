"""Tests that a report of a damaged record works, or the error names file and field."""

import copy
import json

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.fit import errors
from clinometer.tools.report import build
from clinometer.tools.report import records

_VALUES = ("text", None, [], {}, True, -1, 1e300, float("nan"), "deleted")
_RUN = "runs/transformer-pico-s0"


def _places(tree, place=()):
    """Yields the path of every value in a tree of objects."""
    for key, value in tree.items():
        yield (*place, key)
        if isinstance(value, dict):
            yield from _places(value, (*place, key))


def _changed(record, place, value):
    changed = copy.deepcopy(record)
    *parents, last = place
    node = changed
    for parent in parents:
        node = node[parent]
    if value == "deleted":
        del node[last]
    else:
        node[last] = value
    return changed


@pytest.mark.matrix
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("below", ["", "finetune/study"])
def test_one_wrong_field(tmp_path, record_property, below):
    study = synthetic_study.write_study(tmp_path / "study")
    synthetic_study.write_finetuning(study / _RUN, {"rte": (60.0, 1.0)})
    path = study / _RUN / below / "run.json"
    record = json.loads(path.read_text())
    cases = [(place, value) for place in _places(record) for value in _VALUES]
    refused = 0
    for place, value in cases:
        path.write_text(json.dumps(_changed(record, place, value)))
        try:
            build.build(study, tmp_path / "report")
        except records.RecordError as error:
            refused += 1
            assert str(path) in str(error), (place, value)
        except errors.FitError as error:  # Runs of two corpora, and the like.
            refused += 1
            assert "transformer-pico-s0" in str(error), (place, value)
    record_property("damages", len(cases))
    record_property("refused by name", refused)
