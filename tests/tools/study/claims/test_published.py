"""Judges the published first study again, from its committed records."""

from clinometer.tools.report import copies
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.study.claims import verdicts


def test_the_verdicts_of_the_first_study_follow_from_its_records(repo_root):
    folder = repo_root / "tools" / "study" / "results" / "first_study"
    runs = records.load_runs(folder)
    rows = copies.mark(sorted(map(rows_lib.make_row, runs), key=rows_lib.order))
    found = [judged.told for judged in verdicts.of_folder(folder, runs, rows).claims]
    published = (folder / "report" / "verdicts.txt").read_text(encoding="utf-8")
    assert found == published.splitlines() and len(found) == 47
