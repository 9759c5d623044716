"""Tests of the train step benchmark on a small model."""

import json

import pytest

from clinometer.models.counting import counts
from clinometer.train import benchmark

SMALL = ["--batch-size", "2", "--encoder-length", "8", "--decoder-length", "5"]


@pytest.mark.slow
def test_json_of_a_small_model(capsys):
    argv = ["transformer-pico", *SMALL, "--vocab-size", "64", "--rounds", "3", "--json"]
    assert benchmark.main(argv) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["model"], record["rounds"]) == ("transformer-pico", 3)
    ratio = record["reference_median_seconds"] / record["auto_median_seconds"]
    assert record["ratio"] == ratio
    assert record["auto_iqr_seconds"] >= 0
    shape = {"batch_size": 2, "encoder_length": 8, "decoder_length": 5}
    flops = counts.count("transformer-pico", vocab_size=64, **shape).flops_train_step
    reached = record["auto_fraction_of_measured_matmul"] * record["auto_median_seconds"]
    measured = record["measured_matmul_flops_per_second"]
    assert reached * measured == pytest.approx(flops)


def test_an_unknown_model_is_one_line(capsys):
    assert benchmark.main(["transformer-picco"]) == 2
    captured = capsys.readouterr()
    assert "did you mean" in captured.err and captured.err.count("\n") == 1
