"""Tests of `clinometer count`: JSON output, checks and errors."""

import json

import pytest

from clinometer import models
from clinometer.tools.count import main as count_main

# Parameters of pico at V=2048, calculated by hand.
PICO = 2048 * 32 + 2 * (4 * 32 * 32 + 2 * 32 * 128 + 64)
PICO += 2 * (8 * 32 * 32 + 2 * 32 * 128 + 96) + 2 * 32 + 2 * 32 * 2


def test_json_of_one_model(capsys):
    argv = ["--model", "transformer-pico", "--json", "--batch-size", "16"]
    argv += ["--encoder-length", "128", "--decoder-length", "29"]
    argv += ["--override", "vocab_size=2048"]
    assert count_main.main(argv) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["model"] == "transformer-pico"
    assert counts["params_total"] == PICO
    assert (counts["batch_size"], counts["encoder_length"]) == (16, 128)
    assert (counts["decoder_length"], counts["macs_decoder_length"]) == (29, 128)


def test_a_model_of_images(capsys):
    # As computed from the definition by hand, and the multiply-adds of one image.
    argv = ["--model", "vit-NL24-S", "--override", "num_classes=18291", "--json"]
    assert count_main.main([*argv, "--batch-size", "1"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["params_total"] == 86_641_011
    assert counts["macs_forward_batch"] == pytest.approx(3.923e9, rel=1e-3)


def test_text_names_every_count(capsys):
    assert count_main.main(["--model", "transformer-PI"]) == 0
    lines = capsys.readouterr().out.splitlines()
    values = dict(line.split(maxsplit=1) for line in lines)
    assert values["model"] == "transformer-pico"
    assert int(values["params_embedding"].replace(",", "")) == 32128 * 32


def test_all_lists_every_size_by_its_closed_forms(capsys):
    assert count_main.main(["--all", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    by_name = {record["model"]: record for record in records}
    assert len(by_name) == len(models.ARCHITECTURES) * len(models.SIZES)
    assert by_name["transformer-base"]["params_total"] == 222_903_552
    assert by_name["transformer-base"]["flops_forward_executed"] is None


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "transformer-smal"], "did you mean 'small'"),
        (["--model", "transformer-PI", "--override", "x"], "expected FIELD=VALUE"),
        (["--model", "transformer-PI", "--override", "d_fff=3"], "did you mean 'd_ff'"),
        (["--model", "transformer-NL99999999999-PI"], "must be at most 1024"),
        (["--model", "switch-NL1K-FF1024K-DM64K-XXXL"], "parameters; at most"),
        (["--model", "transformer-PI", "--override", "d_ff=1e999"], "d_ff: expected"),
        (["--model", "transformer-PI", "--override", "d_ff=1e15"], "d_ff: must be"),
        (["--model", "vit-S", "--encoder-length", "9"], "vit-S is a model of images"),
    ],
)
def test_errors_are_one_line(argv, message, capsys):
    assert count_main.main(argv) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert not captured.out


@pytest.mark.parametrize("option", ["batch-size", "encoder-length", "decoder-length"])
@pytest.mark.parametrize("value", ["0", "-1", "18446744073709551616", "1e999", "nan"])
def test_numbers_out_of_range_are_bad_options(option, value, capsys):
    with pytest.raises(SystemExit) as caught:
        count_main.main(["--model", "transformer-PI", f"--{option}={value}"])
    assert caught.value.code == 2
    assert f"argument --{option}: " in capsys.readouterr().err


def test_whole_numbers_may_have_exponents(capsys):
    argv = ["--model", "transformer-PI", "--json", "--override", "vocab_size=1e3"]
    assert count_main.main([*argv, "--batch-size", "1e1"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["batch_size"] == 10
    assert counts["params_embedding"] == 1000 * 32
