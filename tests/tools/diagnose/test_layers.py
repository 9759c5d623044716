"""Tests of the checks of experts and attention, on written logs."""

import math

import pytest

from clinometer.tests.tools.diagnose import written
from clinometer.tools.diagnose import finding
from clinometer.tools.diagnose import layers
from clinometer.tools.diagnose import telemetry

LOAD = "health/encoder/feed_forward/load"
DROPPED = "health/encoder/feed_forward/dropped"


def with_experts(since, load, dropped=(0.0, 0.1)):
    """A log of two layers of four experts, with other loads from a step on."""
    equal = {LOAD: [[0.25] * 4, [0.1, 0.2, 0.3, 0.4]], DROPPED: [0.0, 0.1]}
    late = {LOAD: load, DROPPED: list(dropped)}
    return [
        r | (late if r["step"] >= since else equal) if "validation/loss" in r else r
        for r in written.healthy()
    ]


def read(tmp_path, records, **fields):
    return telemetry.read(written.write(tmp_path / "run", records, **fields))


def test_experts_that_share_the_tokens(tmp_path):
    run = read(tmp_path, with_experts(2000, None))
    assert layers.dead_experts(run) == []
    assert layers.dropped_tokens(run) == []


def test_dead_experts(tmp_path):
    """Expert 2 of layer 1 gets 0.01 of the tokens, 0.04 of an equal share."""
    load = [[0.25] * 4, [0.33, 0.33, 0.01, 0.33]]
    (found,) = layers.dead_experts(read(tmp_path, with_experts(500, load)))
    assert found.step == 500
    assert found.what == "encoder/feed_forward: 1 of 8 experts are dead"
    assert found.evidence["experts"] == ["layer 1 expert 2"]
    assert found.evidence[
        "largest load among them, of an equal share"
    ] == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("since", "small"), [(900, 0.01), (500, 0.02)], ids=["two times", "above"]
)
def test_experts_that_are_not_dead(tmp_path, since, small):
    load = [[0.25] * 4, [0.33, 0.33, small, 0.33]]
    assert layers.dead_experts(read(tmp_path, with_experts(since, load))) == []


def test_dropped_tokens(tmp_path):
    load = [[1.0, 0, 0, 0]] * 2
    run = read(tmp_path, with_experts(700, load, dropped=(0.7, 0.3)))
    (found,) = layers.dropped_tokens(run)
    assert found.step == 700
    assert found.evidence == {"encoder/feed_forward layer 0": 0.7}
    assert "6 of 8 experts" in layers.dead_experts(run)[0].what


def test_a_model_without_experts_is_said(tmp_path):
    run = read(tmp_path, written.healthy())
    with pytest.raises(finding.NotCheckedError, match="no experts"):
        layers.dead_experts(run)


def test_healthy_attention(tmp_path):
    """The values are the sharpest and the flattest of the first study's sweeps."""
    records = written.changed(
        written.healthy(),
        0,
        health__decoder__self_attention__entropy=[0.012, 1.5],
        health__encoder__self_attention__entropy=[0.486, 4.766],
    )
    assert layers.attention(read(tmp_path, records)) == []


def test_attention_on_one_key(tmp_path):
    records = written.changed(
        written.healthy(), 600, health__decoder__self_attention__entropy=[5e-4, 1.5]
    )
    (found,) = layers.attention(read(tmp_path, records))
    assert (found.step, found.check) == (600, "attention")
    assert "collapsed to one key in 1 of 4 layers" in found.what
    assert found.evidence == {"entropy of decoder/self_attention layer 0": 5e-4}


@pytest.mark.parametrize(
    ("place", "uniform"),
    [
        ("encoder__self_attention", math.log(128)),
        # The mean of ln 1, ln 2, ... ln 29.
        ("decoder__self_attention", math.lgamma(30) / 29),
    ],
)
def test_attention_that_is_the_same_everywhere(tmp_path, place, uniform):
    def of(below, name):
        field = {f"health__{place}__entropy": [uniform - below, uniform - 0.1]}
        records = written.changed(written.healthy(), 0, **field)
        return layers.attention(read(tmp_path / name, records))

    (found,) = of(0.004, "near")
    assert "the same on all keys in 1 of 4 layers" in found.what
    assert found.step == 100
    assert of(0.006, "below") == []


def test_attention_at_the_start_of_a_run_may_be_uniform(tmp_path):
    records = written.changed(
        written.healthy(400), 0, health__encoder__self_attention__entropy=[4.852] * 2
    )
    found = layers.attention(read(tmp_path / "over", records, status="stopped"))
    assert len(found) == 1
    run = read(tmp_path / "goes on", records, status="running")
    object.__setattr__(run, "status", "running")
    assert layers.attention(run) == []
