"""Tests results of others beside a study: sources apart, and checks of their rows."""

import re

import pytest

from clinometer.tools.report import others
from clinometer.tools.report.grids import others as grids
from clinometer.tools.report.tables import other_table
from clinometer.tools.results import errors
from clinometer.tools.results import published

_TABLE_4 = "Tay et al. 2021, Table 4"


@pytest.fixture(scope="module")
def shipped():
    return others.read(None, [others.PUBLISHED])


def _table_4(sources):
    (found,) = (one for one in sources if one.name == _TABLE_4)
    return found


def test_sources_are_apart_and_marked(shipped):
    names = [one.name for one in shipped]
    assert len(set(names)) == len(names) == 5  # Tables 1 and 3 to 6.
    assert all(one.published for one in shipped)
    found = _table_4(shipped)
    assert len(found.frame) == 14 and set(found.frame["source"]) == {_TABLE_4}
    # The paper's rule, by hand: XL 32L is cheaper than XL and XXL and better on all
    # three; Small 24L and Small 32EL are cheaper than Base and better on all three.
    assert grids.off_frontiers(found) == ["Base", "XL"]


def test_statements_follow_from_the_cells(shipped, tmp_path):
    def row(sources):
        (found,) = (
            [cell.shown for cell in row]
            for row in grids.checks(sources).body
            if row[0].shown.startswith("Small-24L has 87 %")
        )
        return found

    assert row(shipped)[1:] == ["0.870", "0.873", "0.909", "holds"]
    text = published.FILE.read_text(encoding="utf-8")
    path = tmp_path / "edited.csv"
    # Base's multiply-adds, computed and printed, times two.
    base = re.search(r"^Table 4: Base,.*$", text, re.MULTILINE)[0]
    changed = base.replace(
        ",11000000000000,11354819788800,", ",22000000000000,22709639577600,"
    )
    assert changed != base
    path.write_text(text.replace(base, changed), encoding="utf-8")
    edited = others.read(None, [str(path)])
    assert row(edited)[2:] == ["0.437", "0.455", "does not hold"]


def test_speeds_have_frontiers_within_one_number_of_chips(shipped):
    rows = [
        row
        for row in other_table.make(shipped)
        if row["panel"] == "steps_per_second_median: validation_loss_nats"
    ]
    groups = {row["group"] for row in rows if row["group"].startswith(_TABLE_4)}
    assert groups == {f"{_TABLE_4}, 16 chips", f"{_TABLE_4}, 64 chips"}
    (xl,) = (r for r in rows if r["label"] == "XL 32L" and _TABLE_4 in r["group"])
    # At 3 steps/s on 64 chips it beats Base 36L, which took 16: yet both are on.
    assert xl["group"].endswith("64 chips") and xl["x"] == pytest.approx(1 / 3)
    (large,) = (r for r in rows if r["label"] == "Large 36L")
    assert large["front"] == 1 and large["y"] > xl["y"]


def test_imported_rows_are_no_published_ones(tmp_path):
    folder = tmp_path / "imported"
    folder.mkdir()
    (folder / "theirs.csv").write_text(
        "run,model,params_total,validation_loss_nats\n"
        "<b>one,mamba-small,1000000,3.0\ntwo,mamba-large,9000000,2.5\n"
    )
    (found,) = others.read(tmp_path)
    assert found.name == "theirs.csv" and not found.published
    (first, _) = grids.rows("others_1", found).body
    shown = ["<b>one", "mamba-small", "imported", "1.00M", "3.000"]
    assert [cell.shown for cell in first] == shown
    with pytest.raises(errors.ResultsError, match="No such file"):
        others.read(None, [str(tmp_path / "missing.csv")])


def test_a_long_file_stays_a_page(tmp_path):
    lines = [f"r{i},m-{i},{1000 + i},{3 - i * 1e-5:.6f}" for i in range(10_000)]
    path = tmp_path / "long.csv"
    path.write_text("run,model,params_total,validation_loss_nats\n" + "\n".join(lines))
    (found,) = others.read(None, [str(path)])
    assert found.laws is None and "10,000 models" in found.reason
    assert len(grids.rows("others_1", found).body) == grids.MOST
    assert len(other_table.make([found])) <= 2 * other_table.MOST
    assert "There are 10,000 rows" in grids.notes([found])[0]
