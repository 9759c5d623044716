"""Tests of the train step benchmark on a small model."""

import importlib.util
import json

import pytest

from clinometer.models.counting import counts
from clinometer.tools.step_benchmark import main as benchmark
from clinometer.tools.step_benchmark import ours
from clinometer.tools.step_benchmark import peer

SMALL = ["--batch-size", "2", "--encoder-length", "8", "--decoder-length", "5"]
SMALL += ["--vocab-size", "64", "--rounds", "2"]
BOTH = ["--dtype", "float32", "--dtype", "bfloat16", "--implementation", "auto"]


def test_both_dtypes_of_a_small_model(capsys, tmp_path):
    path = tmp_path / "steps.json"
    argv = ["transformer-pico", *SMALL, *BOTH, "--json", "--out", str(path)]
    assert benchmark.main(argv) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == json.loads(path.read_text())
    (record,) = json.loads(captured.out)
    assert (record["model"], record["rounds"]) == ("transformer-pico", 2)
    names = ["float32 auto", "bfloat16 auto"]
    assert [form["form"] for form in record["forms"]] == names
    assert all(name in captured.err for name in names)
    shape = {"batch_size": 2, "encoder_length": 8, "decoder_length": 5}
    flops = counts.count("transformer-pico", vocab_size=64, **shape).flops_train_step
    for form in record["forms"]:
        first = record["forms"][0]["median_seconds"]
        assert form["ratio"] == first / form["median_seconds"]
        assert form["iqr_seconds"] >= 0
        rate = record["measured_matmul_flops_per_second"][form["form"].split()[0]]
        reached = form["fraction_of_measured_matmul"] * form["median_seconds"]
        assert reached * rate == pytest.approx(flops)


def test_forms_that_disagree_are_not_timed(monkeypatch, capsys):
    monkeypatch.setattr(ours, "_TOLERANCES", dict.fromkeys(ours.DTYPES, -1.0))
    assert benchmark.main(["transformer-pico", *SMALL, *BOTH]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("clinometer bench-steps: loss")


@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None,
    reason="transformers is not installed (make setup-peer)",
)
def test_the_peer_has_the_same_model(capsys):
    """The same number of parameters, and four forms whose losses fall alike."""
    argv = ["transformer-pico", *SMALL, *BOTH, "--peer", "--json"]
    assert benchmark.main(argv) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert [form["form"] for form in record["forms"][2:]] == [
        "peer, float32 eager",
        "peer, float32 compiled",
        "peer, bfloat16 eager",
        "peer, bfloat16 compiled",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["transformer-picco"], "did you mean"),
        (["vit-S"], "model of images"),
        (["transformer-pico", "--out", "/nowhere/steps.json"], "--out"),
    ],
)
def test_bad_input_is_one_line(argv, message, capsys):
    assert benchmark.main(argv) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1


def test_the_peer_without_packages_or_model(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"--peer: torch is not installed; `make"):
        peer.check(["transformer-pico"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(ValueError, match=r"universal-pico: Hugging Face has no such"):
        peer.check(["transformer-pico", "universal-pico"])
    peer.check(["transformer-pico", "glu-pico"])
