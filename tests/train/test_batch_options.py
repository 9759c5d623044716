"""Tests of the options for a batch's size and lengths."""

import argparse

import pytest

from clinometer.train import batch_options


def test_defaults_and_values():
    parser = argparse.ArgumentParser()
    batch_options.add(parser, batch_size=8)
    assert vars(parser.parse_args(["--decoder-length", "29"])) == {
        "batch_size": 8,
        "encoder_length": 512,
        "decoder_length": 29,
    }
    with pytest.raises(SystemExit):
        parser.parse_args(["--batch-size", "0"])


def test_an_option_can_be_left_out(capsys):
    parser = argparse.ArgumentParser()
    batch_options.add(parser, decoder_length=None)
    with pytest.raises(SystemExit):
        parser.parse_args(["--decoder-length", "29"])
    assert "unrecognized arguments: --decoder-length" in capsys.readouterr().err
