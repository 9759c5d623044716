"""Readers accept all variants of a format, and errors name the file and line."""

import gzip
import lzma
import os

import pytest

from clinometer.data.errors import DataError
from clinometer.data.tasks import readers
from clinometer.data.tasks.task import Dropped


@pytest.fixture
def write(tmp_path):
    def write_file(name, data):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write_file


def rows(found):
    return [(row.origin.rpartition("/")[2], dict(row)) for row in found]


@pytest.mark.parametrize("kind", ["folder", "dangling", "loop", "pipe"])
def test_what_is_no_file_is_named(tmp_path, kind):
    path = tmp_path / "a.jsonl"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "loop" else tmp_path / "none")
    with pytest.raises(
        DataError, match=r"a\.jsonl: (a folder|a pipe|No such|Too many)"
    ):
        list(readers.jsonl(path))
    with pytest.raises(DataError, match=r"a\.jsonl: "):
        readers.text(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"s": "a\\ud800b"}', "is an unpaired surrogate"),
        ('{"\\uDFFF": 1}', "is an unpaired surrogate"),
        ('{"s": ["\\udc00\\ud800"]}', "is an unpaired surrogate"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON: Exceeds the limit"),
        ('{"a": 1', "not valid JSON"),
    ],
)
def test_json_that_is_no_text_or_too_deep(write, line, message):
    path = write("a.jsonl", '{"s": "\\ud83d\\ude00"}\n' + line + "\n")
    found = readers.jsonl(path)
    assert next(found)["s"] == "\U0001f600"
    with pytest.raises(DataError, match=f"a.jsonl:2: .*{message}"):
        next(found)


def test_fields_of_any_length(write):
    text = "x" * 500_000
    (row,) = readers.csv(write("a.csv", f's,label\n"{text}\n",1\n'), needed=["s"])
    assert row["s"] == text + "\n"
    (row,) = readers.tsv(write("a.tsv", f"s\tlabel\n{text}\t1\n"), needed=["s"])
    assert row["s"] == text


def test_tsv_by_its_header_with_byte_order_mark_and_crlf(write):
    path = write("a.tsv", b"\xef\xbb\xbf#1 S\tlabel\r\nx\t1\r\n\r\ny\t0")
    found = readers.tsv(path, needed=["s"], rename={"#1 S": "s"})
    assert rows(found) == [
        ("a.tsv:2", {"s": "x", "label": "1"}),
        ("a.tsv:4", {"s": "y", "label": "0"}),
    ]


def test_quotes_mean_nothing_in_a_tsv(write):
    path = write("a.tsv", 's\tlabel\n"open\t1\nand "" shut"\t0\n')
    assert [row["s"] for row in readers.tsv(path, needed=["s"])] == [
        '"open',
        'and "" shut"',
    ]


def test_other_line_ends_of_unicode_are_text(write):
    path = write("a.tsv", "s\nx\u2028y\x85z\rq\n")
    assert [row["s"] for row in readers.tsv(path, needed=["s"])] == ["x\u2028y\x85z\rq"]


def test_tsv_without_a_header_by_its_number_of_columns(write):
    names = {2: ["s", "label"], 3: ["s", "label", "source"]}
    path = write("a.tsv", "x\t1\ny\t0\tz\n")
    assert rows(readers.tsv(path, needed=["s"], headerless=names)) == [
        ("a.tsv:1", {"s": "x", "label": "1"}),
        ("a.tsv:2", {"s": "y", "label": "0", "source": "z"}),
    ]


def test_tsv_with_unknown_columns_says_what_is_accepted(write):
    path = write("a.tsv", "x\t1\t2\n")
    with pytest.raises(DataError) as caught:
        list(
            readers.tsv(
                path, needed=["s"], rename={"#1 S": "s"}, headerless={2: ["s", "label"]}
            )
        )
    message = str(caught.value)
    assert "a.tsv:1: unknown columns (3: x, 1, 2)" in message
    assert "a header with #1 S; or no header and 2 columns: s, label" in message


def test_a_row_with_other_columns_is_an_error_or_is_dropped(write):
    path = write("a.tsv", "s\tlabel\nx\t1\ny 0\n")
    with pytest.raises(DataError, match=r"a.tsv:3: 1 columns, not 2"):
        list(readers.tsv(path, needed=["s"]))
    kept, dropped = readers.tsv(path, needed=["s"], drop_malformed=True)
    assert kept["s"] == "x"
    assert dropped == Dropped(f"{path}:3", "a row without 2 columns")


def test_short_rows_lack_their_last_fields(write):
    path = write("a.txt", "label\ts\tmore\n1\tx\n")
    (row,) = readers.tsv(path, needed=["s"], short_rows=True)
    assert dict(row) == {"label": "1", "s": "x"}
    path = write("b.txt", "label\ts\n1\tx\ty\n")
    with pytest.raises(DataError, match="3 columns, not 2"):
        list(readers.tsv(path, needed=["s"], short_rows=True))


@pytest.mark.parametrize(
    ("name", "compress"), [("a.tsv.gz", gzip.compress), ("a.tsv.xz", lzma.compress)]
)
def test_compressed_files(write, name, compress):
    data = compress(b"s\nx\n")
    assert [row["s"] for row in readers.tsv(write(name, data), needed=["s"])] == ["x"]
    with pytest.raises(DataError, match=f"{name}.*truncated or corrupt"):
        list(readers.tsv(write(name, data[:-9]), needed=["s"]))


def test_bytes_that_are_not_utf8(write):
    with pytest.raises(DataError, match="a.tsv:2: not valid UTF-8"):
        list(readers.tsv(write("a.tsv", b"s\n\xff\n"), needed=["s"]))


def test_jsonl(write):
    path = write("a.jsonl", '\ufeff{"s": "x"}\r\n\n{"s": "y"}')
    assert rows(readers.jsonl(path)) == [
        ("a.jsonl:1", {"s": "x"}),
        ("a.jsonl:3", {"s": "y"}),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [("{", "not valid JSON"), ("[1]", "not a JSON object, but list")],
)
def test_a_bad_line_of_json(write, line, reason):
    with pytest.raises(DataError, match=f"a.jsonl:2: {reason}"):
        list(readers.jsonl(write("a.jsonl", '{"s": "x"}\n' + line)))


def test_json_list(write):
    path = write("a.json", '[{"s": "x"}, 3]')
    found = readers.json_list(path)
    assert next(found) == {"s": "x"}
    with pytest.raises(DataError, match=r"a.json\[1\]: not a JSON object, but int"):
        next(found)
    with pytest.raises(DataError, match="not a JSON list, but dict"):
        list(readers.json_list(write("b.json", "{}")))


def test_csv_with_line_ends_in_quotes(write):
    path = write("a.csv", '\ufeff"id","text"\r\n1,"a ""b"",\n\nc"\r\n2,d\r\n')
    assert rows(readers.csv(path, needed=["text"])) == [
        ("a.csv:2", {"id": "1", "text": 'a "b",\n\nc'}),
        ("a.csv:5", {"id": "2", "text": "d"}),
    ]


def test_bad_csv(write):
    with pytest.raises(DataError, match=r"a.csv:1: unknown columns .*header with text"):
        list(readers.csv(write("a.csv", "id,body\n1,x\n"), needed=["text"]))
    with pytest.raises(DataError, match=r"b.csv:3: 1 columns, not 2"):
        list(readers.csv(write("b.csv", "id,text\n1,x\n2\n"), needed=["text"]))
    with pytest.raises(DataError, match=r"c.csv:2: not valid CSV"):
        list(readers.csv(write("c.csv", 'id,text\n1,"x\n'), needed=["text"]))


def test_labels_beside_a_file(write):
    path = write("dev.jsonl", '{"s": "x"}\n{"s": "y"}\n')
    assert all("label" not in r for r in readers.with_labels(readers.jsonl(path), path))
    write("dev-labels.lst", "2\n1\n")
    labeled = readers.with_labels(readers.jsonl(path), path)
    assert [row["label"] for row in labeled] == ["2", "1"]


def test_labels_that_do_not_fit_their_file(write):
    path = write("dev.jsonl", '{"label": "2"}\n{"label": "0"}\n')
    write("dev-labels.lst", "2\n")
    with pytest.raises(DataError, match="dev.jsonl has 2 rows, but .* 1 labels"):
        list(readers.with_labels(readers.jsonl(path), path))
    write("dev-labels.lst", "2\n1\n")
    with pytest.raises(DataError, match=r"dev.jsonl:2: label '0', but .*lst:2 has '1'"):
        list(readers.with_labels(readers.jsonl(path), path))
