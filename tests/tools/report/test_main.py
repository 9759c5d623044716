"""Tests of `clinometer report`."""

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import main


def test_report_and_its_errors(tmp_path, capsys):
    assert main.main([str(tmp_path)]) == 1
    assert "no run found" in capsys.readouterr().err
    synthetic_study.write_run(tmp_path / "in" / "a", synthetic_study.record())
    assert main.main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").is_file()
    assert "report.html" in capsys.readouterr().out
