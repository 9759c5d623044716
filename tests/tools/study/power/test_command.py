"""Tests `clinometer study --power`: output, reproducibility, errors, Ctrl-C."""

import pytest

from clinometer.tests.tools.study.power import example_pilot
from clinometer.tools.inference import power
from clinometer.tools.study import main

_SMALL = (
    "--power",
    "--archs=transformer glu",
    "--config.power.draws=100",
    "--config.design.orders=(2,1,1,2)",
)


def _said(capsys, *argv):
    assert main.main(list(argv)) == 0
    return capsys.readouterr()


def test_the_seed_decides_the_output_and_nothing_is_written(tmp_path, capsys):
    argv = (*_SMALL, "--out", str(tmp_path / "study"), "--store", "nowhere")
    first = _said(capsys, *argv)
    assert "power: 100 simulated studies in" in first.err
    again = _said(capsys, *argv)
    other = _said(capsys, *argv, "--config.power.seed=1")
    assert first.out == again.out != other.out
    assert not (tmp_path / "study").exists()
    lines = first.out.splitlines()
    assert lines[0].startswith("design: 2 architectures, 12 runs, 2 orders of the data")
    for family in ("Level", "Difference of gain", "Crossover", "Own gain", "Steps"):
        assert sum(line.startswith(f"{family}: ") for line in lines) == 1


def test_a_finished_pilot_is_used(tmp_path, capsys):
    folder = example_pilot.write(tmp_path / "pilot")
    given = ("--power-from", str(folder), *example_pilot.PROTOCOL)
    out = " ".join(_said(capsys, *_SMALL, *given).out.split())
    assert f"pilot: 8 runs of {folder}; transformer gains 0.2700" in out
    assert "10 % of transformer's gain in the pilot" in out


@pytest.mark.parametrize(
    "argv, code, words",
    [
        (["--config.design.orders=(1,1,1,1)"], 1, "no replicates, so the spread"),
        (["--config.power.pilot=/no/where"], 1, "/no/where: no such folder"),
        (["--config.power.losses=(4.0,)"], 2, "config.power.losses: got 1 losses"),
        (["--sizes=pico nanno"], 2, "orders has 4 numbers and sizes has 2"),
    ],
)
def test_what_cannot_be_simulated_is_said(capsys, argv, code, words):
    try:
        assert main.main([*_SMALL, *argv]) == code
    except SystemExit as stopped:
        assert stopped.code == code
    assert words in capsys.readouterr().err


def test_the_margin_of_the_claims_is_used_and_no_other(tmp_path, capsys):
    claims = tmp_path / "claims.py"
    claims.write_text("MARGIN_NATS = 0.031\ndef get_claims():\n    return []\n")
    given = (*_SMALL, f"--config.claims={claims}")
    out = _said(capsys, *given).out
    assert "margin: 0.0310 nats, committed beforehand" in out
    assert main.main([*given, "--config.design.margin=0.02"]) == 2
    assert "design.margin: got 0.02, but MARGIN_NATS" in capsys.readouterr().err


def test_a_folder_of_a_sweep_is_refused(tmp_path, capsys):
    folder = example_pilot.write(tmp_path / "sweep", role="sweep")
    assert main.main([*_SMALL, "--power-from", str(folder)]) == 2
    assert "holds no finished pilot run or final" in capsys.readouterr().err


def test_ctrl_c_stops_without_a_result(monkeypatch, capsys):
    def stopped(*unused, **unused_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(power, "simulate", stopped)
    assert main.main(list(_SMALL)) == 130
    said = capsys.readouterr()
    assert said.out == "" and "Stopped; nothing was written." in said.err
