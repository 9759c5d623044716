"""Tests `clinometer laws`."""

import numpy as np
import pytest

from clinometer.tools.laws import main
from clinometer.tools.results import published


def test_the_published_table(tmp_path, capsys):
    assert main.main(["--published", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    table = published.of_table(4)
    u = np.log10(table["papers_macs_forward_batch"])
    slope = np.polyfit(u, -table["validation_loss_nats"], 1)[0]
    assert f"transformer F,U: {slope:+.3f} (" in said
    assert "undecided (judged afterwards): Vanilla's loss falls fastest" in said
    assert "On no downstream frontier (rule of Tay et al. 2021):" in said
    assert "Small-16L has 50 % less parameters than Base: 0.601 of the computed" in said
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"alphas.csv", "held_out.csv", "text_checks.csv"} <= written


def test_bad_input(tmp_path, capsys):
    assert main.main([str(tmp_path)]) == 2
    assert "no run and no imported file" in capsys.readouterr().err
    path = str(published.FILE)
    assert main.main([path, "--score", "superglu"]) == 2
    assert "accepted: glue, superglue" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main.main([path, "--out", str(tmp_path / "file" / "x")]) == 2
    with pytest.raises(SystemExit) as stop:
        main.main([])
    assert stop.value.code == 2
