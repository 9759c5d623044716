"""Tests the access of claims to the runs."""

import pytest

from clinometer.tools.inference import design
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
        "values": {
            "validation_loss_nats": loss,
            "params_total": 1000,
            "training_flops": 1e9 * width,
            "d_model": width,
        },
    }
    fields |= changes
    inference = design.Run(
        name,
        fields["architecture"],
        width,
        str(fields["order"]),
        str(fields["seed"]),
        1e9 * width,
        loss,
    )
    return observed.Run(**fields, inference=inference)


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


def test_runs_as_a_design():
    runs = [_run("a", loss=4.1), _run("b", order=2, loss=4.3), _run("c", 32, 4.0)]
    found, losses = observed.Runs(runs).design()
    assert [(cell.width, cell.flops) for cell in found.cells] == [
        (16, 16e9),
        (32, 32e9),
    ]
    assert found.counts.tolist() == [2, 1] and found.orders == ("1", "2")
    assert losses.tolist() == [4.1, 4.3, 4.0]


def test_a_diverged_run_keeps_its_architecture_out():
    lost = _run("lost", architecture="mos", diverged=True)
    runs = observed.Runs([_run("a"), _run("b", architecture="mos"), lost])
    with pytest.raises(observed.UndecidableError, match="lost diverged"):
        runs.design()
    found, _ = runs.without_diverged().design()
    assert found.architectures == ("transformer",)


def test_a_run_without_width_is_in_no_design():
    run = _run("a")
    unknown = observed.Runs([_run("b", values={**run.values, "d_model": None})])
    with pytest.raises(observed.UndecidableError, match="b: no d_model"):
        unknown.design()
