"""Tests of `clinometer report`."""

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import main


def test_report_and_its_errors(tmp_path, capsys):
    assert main.main([str(tmp_path)]) == 1
    assert "no run found" in capsys.readouterr().err
    synthetic_study.write_run(tmp_path / "in" / "a", synthetic_study.record())
    assert main.main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").is_file()
    assert "report.html" in capsys.readouterr().out


def test_mixed_conditions(tmp_path, capsys):
    for name, size, steps in (("a", "pico", 600), ("b", "nano", 900)):
        record = synthetic_study.record(size, config__train_steps=steps)
        synthetic_study.write_run(tmp_path / name, record)
    assert main.main([str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "run length (train_steps). 600: a; 900: b" in error
    assert "clinometer report --mixed train_steps" in error
    assert main.main([str(tmp_path), "--mixed", "train_steps"]) == 0
    with pytest.raises(SystemExit) as caught:
        main.main([str(tmp_path), "--mixed", "length"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "--mixed: unknown field 'length'" in error
    assert "accepted: corpus_hash, " in error
