"""Tests of the table of downloads."""

import pytest

from clinometer.data.tasks import registry
from clinometer.tools.fetch import table
from clinometer.train import errors


def test_every_task_of_a_release_has_its_files():
    names = {download.name for download in table.read()}
    generated = set(registry.benchmarks()["probes"])
    assert names == {*registry.names(), "c4"} - generated


def test_sizes_and_sums_are_those_of_the_public_lists(shared_dir):
    lines = (shared_dir / "spec/downloads.tsv").read_text(encoding="utf-8").splitlines()
    facts = {
        fields[1]: (fields[2], fields[3])
        for fields in (line.split("\t") for line in lines if not line.startswith("#"))
    }
    found = {
        one.url: (str(one.bytes or "-"), one.sha256 or "-") for one in table.read()
    }
    # Adversarial NLI; Rainbow's aNLI is abductive.
    del facts["https://dl.fbaipublicfiles.com/anli/anli_v0.1.zip"]
    assert facts.items() <= found.items()


def test_shards():
    (c4,) = [download for download in table.read() if download.name == "c4"]
    first, last = c4.sharded([0, 1023])
    assert first.file == "c4-train.00000-of-01024.json.gz"
    assert last.url.endswith("/en/c4-train.01023-of-01024.json.gz")
    assert first.sharded([0, 1]) == [first]


_HEAD = "name,url,bytes,sha256,folder,file,unpack,inside,by_hand,note\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,url\n", ":1: the columns are name,url; accepted: name,url,bytes,"),
        (_HEAD + "a,b\n", ":2: another number of columns"),
        (
            _HEAD + "a,ftp://x/y,,,d,f,,,,\n",
            ":2: url is 'ftp://x/y'; accepted: an http",
        ),
        (_HEAD + "a,http://x/y,-1,,d,f,,,,\n", ":2: bytes is '-1'; accepted: a number"),
        (_HEAD + "a,http://x/y,,0a,d,f,,,,\n", ":2: sha256 is '0a'; accepted: 64"),
        (_HEAD + "a,http://x/y,,,../d,f,,,,\n", r":2: folder is '\.\./d'; accepted"),
        (_HEAD + "a,http://x/y,,,/d,f,,,,\n", ":2: folder is '/d'; accepted"),
        (_HEAD + "a,http://x/y,,,d,e/f,,,,\n", ":2: file is 'e/f'; accepted"),
        (_HEAD + "a,http://x/y,,,d,f,rar,,,\n", ":2: unpack is 'rar'; accepted: zip"),
        (_HEAD + "a,http://x/y,,,d,f,,,no,\n", ":2: by_hand is 'no'; accepted: yes"),
        (_HEAD + "a,http://x/y,,,d,f,,,,\n" * 2, "two rows have the file d/f"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(errors.ConfigError, match=message):
        table.read(path)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(errors.ConfigError, match=r"nowhere\.csv: No such file"):
        table.read(tmp_path / "nowhere.csv")
