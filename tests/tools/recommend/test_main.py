"""Tests `clinometer recommend`."""

import json

import pytest

from clinometer.tests.tools.laws import ladders
from clinometer.tools.recommend import main
from clinometer.tools.results import csv_file


@pytest.fixture
def path(tmp_path):
    rows = ladders.ladder("glu", ladders.SIZES[:4], replicates=2, noise=0.001)
    rows += ladders.ladder(
        "performer", ladders.SIZES[:4], lambda n: 5.0 - n / 1e9, 2, 0.001, seed=1
    )
    rows += ladders.ladder("mos", ladders.SIZES[:2])
    file = tmp_path / "theirs.csv"
    file.write_text(csv_file.write(ladders.frame(rows)))
    return file


def test_an_answer(path, capsys):
    assert main.main([str(path), "--flops", "2e18"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("At 2e+18 training FLOPs, choose:\n  glu ")
    assert "Worse than one of them" in said and "mos: has 2 sizes" in said
    assert main.main([str(path), "--flops", "2e18", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["in_set"] for one in told["candidates"]] == [True, False]


def test_budgets_of_parameters_and_one_at_a_time(path, capsys):
    assert main.main([str(path), "--parameters", "2e7"]) == 0
    assert capsys.readouterr().out.startswith("At 2e+07 parameters, choose:\n  glu ")
    assert main.main([str(path), "--seconds", "60"]) == 2
    assert "glu has 0 sizes" in capsys.readouterr().err
    for given in (["--flops", "1e18", "--seconds", "60"], []):
        with pytest.raises(SystemExit) as stop:
            main.main([str(path), *given])
        assert stop.value.code == 2
    assert "--steps-per-second" in capsys.readouterr().err


@pytest.mark.parametrize("flops", ["1e10", "1e30"])
def test_refused_outside_the_range(path, flops, capsys):
    assert main.main([str(path), "--flops", flops]) == 2
    assert "glu was measured from" in capsys.readouterr().err


def test_bad_input(tmp_path, capsys):
    assert main.main([str(tmp_path), "--flops", "1e15"]) == 2
    assert "no run and no imported file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main.main([str(tmp_path), "--flops", "0"])
    assert stop.value.code == 2 and "positive" in capsys.readouterr().err
