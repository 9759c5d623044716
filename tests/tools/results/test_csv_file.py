"""Tests that CSV files of results are read as written, and what is refused."""

import pytest

from clinometer.tools.results import columns
from clinometer.tools.results import csv_file
from clinometer.tools.results import errors

_HEAD = "run,model,params_total,validation_loss_nats,score_glue,corpus_hash"
_ROWS = ["a,glu-small,60000000,2.5,77.5,c4", "b,glu-base,220000000,2.25,,c4"]


def _parse(*rows, head=_HEAD, mixed=()):
    return csv_file.parse("\n".join([head, *rows]), "file.csv", mixed)


def test_values_are_read():
    found = _parse(*_ROWS)
    assert found["run"].tolist() == ["a", "b"]
    assert found["architecture"].tolist() == ["glu", "glu"]
    assert found["size"].tolist() == ["small", "base"]
    assert found["source"].tolist() == ["file.csv"] * 2
    assert found["published"].tolist() == [False, False]
    assert found["validation_loss_nats"].tolist() == [2.5, 2.25]
    assert found["score_glue"].isna().tolist() == [False, True]
    assert {column.name for column in columns.OWN} <= set(found.columns)


def test_what_is_written_is_read_back():
    found = _parse(*_ROWS)
    assert csv_file.parse(csv_file.write(found), "other").equals(found)
    # Mutation: another value is another frame.
    other = csv_file.write(found).replace("2.25", "2.125")
    assert not csv_file.parse(other, "other").equals(found)


def test_names_with_html_stay_text():
    name = "<script>alert(1)</script> & co"
    assert _parse(f'"{name}",glu-small,,,,')["run"].tolist() == [name]


def test_ten_thousand_rows():
    rows = (f"r{i},glu-small,60000000,{2 + i / 1e5},77.5,c4" for i in range(10_000))
    assert len(_parse(*rows)) == 10_000


@pytest.mark.parametrize(
    "rows, head, words",
    [
        ([], "", "line 1: no column names"),
        ([], _HEAD, "no rows"),
        (["a,b"], "run,modle", r"unknown column 'modle' \(did you mean 'model'\?\)"),
        (["a,b,1"], "run,model,loss_bits", "accepted: run, model,"),
        (["a"], "run", "line 1: the column 'model' is needed"),
        (["a,b,1,1"], "run,model,seed,seed", "'seed' occurs twice"),
        (["a,b"], _HEAD, "line 2: has 2 values; accepted: 6"),
        ([",b,,,,"], _HEAD, "line 2: run is empty"),
        ([*_ROWS, _ROWS[0]], _HEAD, "line 4: the run 'a' is already on line 2"),
        ([_ROWS[0], "z" + _ROWS[0][1:]], _HEAD, "line 3: the run 'z' repeats line 2"),
        (["a,b,61,,,"], _HEAD, r"params_total is 61; accepted: 1000 or more.*millions"),
        (["a,b,,-2.0,,"], _HEAD, "validation_loss_nats is -2.0.*change its sign"),
        (["a,b,,35,,"], _HEAD, "not a perplexity"),
        (["a,b,,nan,,"], _HEAD, "line 2: validation_loss_nats is 'nan'; accepted"),
        (["a,b,,inf,,"], _HEAD, "line 2: validation_loss_nats is 'inf'"),
        (["a,b,,2 nats,,"], _HEAD, "'2 nats'; accepted: a number"),
        (["a,b,,2,101,"], _HEAD, "score_glue is 101; accepted: 0 to 100, in percent"),
        (["a,b,,2,0.7,", "c,b,,2,0.8,"], _HEAD, "looks like fractions"),
        ([_ROWS[0], "b,glu-base,,2.2,,wiki"], _HEAD, r"corpus.*--mixed corpus_hash"),
        (["a,b,2", "c,b,3"], "run,model,published", "published is '2'; accepted: true"),
        (['a,"b'], "run,model", "line 2"),
        (["a\x07,b"], "run,model", "printable"),
    ],
)
def test_bad_input(rows, head, words):
    with pytest.raises(errors.ResultsError, match=words):
        _parse(*rows, head=head)


def test_mixed_texts_may_be_asked_for():
    rows = [_ROWS[0], "b,glu-base,,2.2,,wiki"]
    assert len(_parse(*rows, mixed=("corpus_hash",))) == 2
    # Rows without a loss enter no fit of it.
    assert len(_parse(_ROWS[0], "b,glu-base,,,80,wiki")) == 2


def test_mixed_vocabularies_are_refused():
    head = "run,model,validation_loss_nats,vocabulary_sha256"
    with pytest.raises(errors.ResultsError, match="vocabulary"):
        _parse("a,b,2,x", "c,b,3,y", head=head)


def test_too_many_rows(monkeypatch):
    monkeypatch.setattr(csv_file, "MOST_ROWS", 1)
    with pytest.raises(errors.ResultsError, match="more than 1 rows"):
        _parse(*_ROWS)


def test_unreadable_files(tmp_path):
    with pytest.raises(errors.ResultsError, match="No such file"):
        csv_file.read(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_bytes(b"run,model\n\xff\xfe,b")
    with pytest.raises(errors.ResultsError, match="UTF-8"):
        csv_file.read(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("run\n")
    with pytest.raises(errors.ResultsError, match=r"x\.csv: line 1"):
        csv_file.read(tmp_path / "x.csv")
