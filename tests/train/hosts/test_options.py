"""Tests of the options for several processes, alone and together."""

import argparse

import pytest

from clinometer.kernels.options.errors import OptionError
from clinometer.train.hosts import options

_THREE = ("--coordinator=node0:29400", "--num-processes=4", "--process-id=3")


def _parse(*given):
    parser = argparse.ArgumentParser(exit_on_error=False)
    options.add_to(parser)
    return options.parse(parser.parse_args(given))


def test_one_process_needs_no_options():
    assert _parse() is None


def test_what_is_given_is_taken():
    made = _parse(
        *_THREE,
        "--local-device-ids=0,2",
        "--heartbeat-timeout=30",
        "--connect-timeout=5",
    )
    assert made == options.Options("node0:29400", 4, 3, (0, 2), 30.0, 5.0)
    assert made.address == ("node0", 29400)
    made = _parse("--distributed")
    assert made == options.Options(None, None, None, None, 100.0, 20.0)


@pytest.mark.parametrize(
    ("coordinator", "address"),
    [("10.0.0.1:80", ("10.0.0.1", 80)), ("[fd00::1]:8080", ("fd00::1", 8080))],
)
def test_addresses(coordinator, address):
    made = _parse(f"--coordinator={coordinator}", *_THREE[1:])
    assert made.address == address


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (_THREE[:1], "--coordinator: also needs --num-processes and --process-id"),
        (_THREE[1:], "--num-processes: also needs --coordinator"),
        (_THREE[2:], "--process-id: also needs --coordinator and --num-processes"),
        (("--distributed", _THREE[1]), "--num-processes: --distributed detects it"),
        ((*_THREE[:2], "--process-id=4"), "4 is not below --num-processes = 4"),
        (("--local-device-ids=0",), "--local-device-ids: only for several processes"),
        (("--heartbeat-timeout=9",), "--heartbeat-timeout: only for several"),
        (("--connect-timeout=9",), "--connect-timeout: only for several processes"),
    ],
)
def test_what_does_not_go_together_is_refused(given, message):
    with pytest.raises(OptionError, match=message):
        _parse(*given)


@pytest.mark.parametrize(
    ("given", "accepted"),
    [
        ("--coordinator=node0", "HOST:PORT, such as node0:29400"),
        ("--coordinator=node0:0", "HOST:PORT"),
        ("--coordinator=node0:65536", "HOST:PORT"),
        ("--coordinator=::1:80", "HOST:PORT"),
        ("--num-processes=0", "at least 1"),
        ("--process-id=-1", "not be negative"),
        ("--local-device-ids=", "different numbers, such as 0,1"),
        ("--local-device-ids=1,1", "different numbers"),
        ("--heartbeat-timeout=0", "at least 1"),
    ],
)
def test_bad_values_are_refused(given, accepted):
    with pytest.raises((argparse.ArgumentError, OptionError), match=accepted):
        _parse(given)
