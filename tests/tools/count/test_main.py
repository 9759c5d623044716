"""`clinometer count`: its JSON contract, its checks and its errors."""

import json

import pytest

from clinometer import models
from clinometer.tools.count import main as count_main

# 128 x 29 targets of pico at V=2048: the closed form of spec §1.8 by hand.
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
    assert by_name["transformer-base"]["params_total"] == 222_903_552  # spec §1.9
    assert by_name["transformer-base"]["flops_forward_executed"] is None


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "transformer-smal"], "did you mean 'small'"),
        (["--model", "transformer-PI", "--override", "x"], "expected FIELD=VALUE"),
        (["--model", "transformer-PI", "--override", "d_fff=3"], "did you mean 'd_ff'"),
        (["--model", "transformer-PI", "--batch-size", "0"], "batch_size"),
    ],
)
def test_errors_are_one_line(argv, message, capsys):
    assert count_main.main(argv) == 1
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert not captured.out
