"""Tests the page of results of others alone."""

import pytest

from clinometer.tests.tools.report import test_build
from clinometer.tools.report import main
from clinometer.tools.results import published


@pytest.mark.slow  # Its figures take 10 s.
def test_a_csv_file_gives_a_page_and_its_data(tmp_path, capsys):
    path = tmp_path / "theirs.csv"
    path.write_bytes(published.FILE.read_bytes())
    assert main.main([str(path)]) == 0
    page = tmp_path / "theirs" / "report.html"
    assert capsys.readouterr().out == f"{page}\n"
    text = page.read_text()
    assert "Base and XL stand on no downstream frontier, two of 14 models" in text
    balance = test_build._Balance()
    balance.feed(text)
    assert balance.open == [] and all(one.startswith("#") for one in balance.links)
    assert (tmp_path / "theirs" / "laws" / "3-tay-et-al-2021-table-4").is_dir()
    assert list((tmp_path / "theirs" / "figures").glob("others-*.pdf"))


def test_bad_files_are_refused_in_one_line(tmp_path, capsys):
    path = tmp_path / "theirs.csv"
    for text, words in (
        ("run,model,params_totl\na,b-c,1e6\n", "did you mean"),
        ("run,model,params_total\na,b-c,61\n", "millions"),
        ("run,model,validation_loss_nats\na,b-c,nan\n", "is 'nan'; accepted: a number"),
        ("run,model\na,b-c\na,b-c\n", "'a'"),
    ):
        path.write_text(text)
        assert main.main([str(path)]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1 and "theirs.csv" in error
    assert [p.name for p in tmp_path.iterdir()] == ["theirs.csv"]
    assert main.main([str(tmp_path), "--overlay", "missing.csv"]) in (1, 2)
    assert "clinometer report: " in capsys.readouterr().err
