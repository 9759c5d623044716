"""Tests that runs with different corpora or vocabularies are refused by name."""

import pytest

from clinometer.tools.fit import comparable
from clinometer.tools.fit import errors

_ROW = {
    "run": "a",
    "corpus_hash": "c1",
    "corpus_python_version": "3.11.7",
    "vocabulary_sha256": "v1",
}


def test_equal_runs_pass():
    comparable.check_comparable([_ROW, {**_ROW, "run": "b"}])


@pytest.mark.parametrize(
    "field", ["corpus_hash", "corpus_python_version", "vocabulary_sha256"]
)
def test_one_other_value_is_refused_by_name(field):
    with pytest.raises(errors.FitError) as caught:
        comparable.check_comparable([_ROW, {**_ROW, "run": "odd-one", field: "other"}])
    assert field in str(caught.value)
    assert "odd-one" in str(caught.value)
