"""Tests the access of claims to the runs."""

import pytest

from clinometer.tools.study.claims import errors
from clinometer.tools.study.claims import observed


def _run(name, width=16, loss=4.0, **changes):
    fields = {
        "name": name,
        "architecture": "transformer",
        "width": width,
        "order": 1,
        "seed": 100,
        "diverged": False,
        "values": {"validation_loss_nats": loss, "params_total": 1000},
    }
    return observed.Run(**(fields | changes))


def test_selection_and_columns():
    runs = observed.Runs([_run("b", 128, 4.1), _run("a"), _run("c", order=2)])
    assert runs.widths == [16, 128] and runs.architectures == ["transformer"]
    assert runs.select(width=16).column("validation_loss_nats") == [4.0, 4.0]
    assert len(runs.select(width=16, order=2)) == 1
    assert len(runs) == 3


def test_an_unknown_metric_is_named():
    with pytest.raises(errors.ClaimsError, match="'validation_loss' .did you mean"):
        observed.Runs([_run("a")]).column("validation_loss")


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([], "no finished runs"),
        ([_run("a"), _run("b", diverged=True)], "b diverged"),
        ([_run("a", loss=None)], "a: no validation_loss_nats"),
    ],
)
def test_what_cannot_be_told_is_undecidable(runs, words):
    with pytest.raises(observed.UndecidableError, match=words):
        observed.Runs(runs).column("validation_loss_nats")
