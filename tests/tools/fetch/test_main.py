"""End-to-end tests of `clinometer fetch` with a server on loopback."""

import csv
import dataclasses
import hashlib
import io
import json
import re
import tarfile
import zipfile

import pytest

from clinometer.data.tasks import load
from clinometer.data.tasks import registry
from clinometer.tests.data.tasks import releases
from clinometer.tools.fetch import fetching
from clinometer.tools.fetch import main
from clinometer.tools.fetch import table
from clinometer.tools.fetch import transfer

_RTE = {
    f"RTE/{name}.tsv": b"index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n"
    for name in ("train", "dev")
}


def zipped(files):
    """Returns a zip archive of {name: content}."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return data.getvalue()


def tarred(files):
    """Returns a compressed tar archive of {name: content}."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return data.getvalue()


@pytest.fixture
def fetch(server, tmp_path, monkeypatch):
    """Serves files of the shipped table, without their sums, and runs the command."""
    monkeypatch.setattr(transfer, "_WAITS", ())
    rows = [
        dataclasses.replace(
            row, url=f"{server.address}/{row.path}", bytes=None, sha256=None
        )
        for row in table.read()
    ]

    def run(*argv, served, **changed):
        server.files = {f"/{path}": content for path, content in served.items()}
        names = [field.name for field in dataclasses.fields(table.Download)]
        path = tmp_path / "table.csv"
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            for row in rows:
                change = changed.get(row.name, {})
                values = dataclasses.asdict(row) | change
                values["by_hand"] = "yes" if row.by_hand else ""
                writer.writerow(values)
        return main.main([*argv, f"--data={tmp_path}/data", f"--table={path}"])

    return run


def test_a_release_is_fetched_once(fetch, server, tmp_path, capsys):
    served = {"glue/RTE.zip": zipped(_RTE)}
    assert fetch("rte", served=served) == 0
    assert capsys.readouterr().out == "rte: ready\n"
    folder = tmp_path / "data"
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.*")) == [
        "fetched.json",
        "glue/RTE/dev.tsv",
        "glue/RTE/train.tsv",
    ]
    recorded = json.loads((folder / "fetched.json").read_text())["glue/RTE.zip"]
    assert recorded == {
        "bytes": len(served["glue/RTE.zip"]),
        "sha256": hashlib.sha256(served["glue/RTE.zip"]).hexdigest(),
        "content": {f"glue/{name}": len(content) for name, content in _RTE.items()},
    }
    assert fetch("rte", served={}) == 0
    assert len(server.asked) == 1

    # What is lost is fetched again, and must be what it was.
    (folder / "glue/RTE/dev.tsv").unlink()
    assert fetch("rte", served={"glue/RTE.zip": zipped(_RTE | {"x": b""})}) == 1
    assert "but fetched.json has" in capsys.readouterr().err
    assert fetch("rte", served=served) == 0
    assert (folder / "glue/RTE/dev.tsv").read_bytes() == _RTE["RTE/dev.tsv"]


def test_the_sums_of_the_table_are_checked(fetch, tmp_path, capsys):
    served = {"squad/train-v1.1.json": b"{}", "squad/dev-v1.1.json": b"{}"}
    right = hashlib.sha256(b"{}").hexdigest()
    wrong = {"squad": {"sha256": "0" * 64, "bytes": 2}}
    assert fetch("squad", served=served, **wrong) == 1
    error = capsys.readouterr().err
    assert f"has {right} as sha256, but the table has {'0' * 64}; it was" in error
    assert not list((tmp_path / "data/squad").iterdir())
    assert fetch("squad", served=served, squad={"sha256": right, "bytes": 2}) == 0
    # A file that changed on the disk is not taken for the release.
    (tmp_path / "data/squad/dev-v1.1.json").write_bytes(b"[]")
    assert fetch("squad", served=served, squad={"sha256": right, "bytes": 2}) == 1
    assert "dev-v1.1.json, from http" in capsys.readouterr().err


def test_one_that_fails_does_not_stop_the_others(fetch, tmp_path, capsys):
    bad = zipped({"../RTE/train.tsv": b"x"})
    served = {"glue/RTE.zip": bad, "dpr/train.c.txt": b"a", "dpr/test.c.txt": b"b"}
    assert fetch("rte", "wnli", "dpr", served=served) == 1
    said = capsys.readouterr()
    assert "rte: failed: " in said.err and "leads out of the folder" in said.err
    assert "wnli: failed: " in said.err and "404 Not Found" in said.err
    assert "rte: not complete" in said.out and "dpr: ready" in said.out
    assert not list(tmp_path.rglob("*.tsv"))


def test_what_is_got_by_hand_is_said_and_then_used(fetch, tmp_path, capsys):
    lists = {
        f"cnn_dailymail/url_lists/all_{k}.txt": b"http://x\n" for k in ("train", "val")
    }
    assert fetch("cnn_dailymail", served=lists) == 3
    folder = tmp_path / "data/cnn_dailymail"
    error = capsys.readouterr().err
    assert "cnn_dailymail: by hand: CNN stories: " in error
    assert f" to {folder}/dailymail_stories.tgz" in error
    name = hashlib.sha1(b"http://x").hexdigest() + ".story"
    for archive, place in (("cnn", "cnn"), ("dailymail", "dailymail")):
        stories = {f"{place}/stories/{name}": b"Ann ran.\n\n@highlight\n\nAnn ran\n"}
        (folder / f"{archive}_stories.tgz").write_bytes(tarred(stories))
    assert fetch("cnn_dailymail", served={}) == 0
    (example,) = load.load(registry.get("cnn_dailymail"), tmp_path / "data", "train")
    assert example.targets == "Ann ran."
    assert (folder / "cnn_stories.tgz").exists()

    assert (
        fetch("xsum", served={"xsum/XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json": b"{}"})
        == 3
    )
    said = capsys.readouterr()
    assert (
        "xsum: by hand: the articles: " in said.err and "xsum: not complete" in said.out
    )
    (tmp_path / "data/xsum/bbc-summary-data").mkdir()
    assert fetch("xsum", served={}) == 0


def test_an_interrupted_download_is_listed_and_goes_on(
    fetch, server, tmp_path, capsys, monkeypatch
):
    served = {"dpr/train.c.txt": b"a" * 1_000_000, "dpr/test.c.txt": b"b"}

    def interrupt(download, done, total):
        if done > 500_000:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "_progress", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch("dpr", served=served)
    assert fetch("dpr", "--list", served=served) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "/train.c" in x]
    kept = (tmp_path / "data/dpr/train.c.txt.partial").stat().st_size
    assert line.split()[:2] == ["dpr", f"{kept:,}"] and kept > 500_000
    assert fetch("dpr", served=served) == 0
    assert ("/dpr/train.c.txt", f"bytes={kept}-", 206) in server.asked
    assert (tmp_path / "data/dpr/train.c.txt").read_bytes() == b"a" * 1_000_000


def test_shards_of_c4(fetch, tmp_path):
    served = {f"c4/c4-train.{k:05}-of-01024.json.gz": b"%d" % k for k in range(3)}
    assert fetch("c4", "--shards=3", served=served) == 0
    found = sorted((tmp_path / "data/c4").iterdir())
    assert [path.read_bytes() for path in found] == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "NAME: missing; accepted: all, anli, "),
        (("gleu",), "NAME: got 'gleu'; did you mean 'glue'?; accepted: all, "),
        (("rte", "--table=nowhere.csv"), "nowhere.csv: No such file or directory"),
        (("rte", "--data={file}"), "is a file, not a folder"),
    ],
)
def test_bad_input_is_a_line(argv, message, tmp_path, capsys):
    (tmp_path / "file").touch()
    argv = [word.format(file=tmp_path / "file") for word in argv]
    assert main.main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("clinometer fetch: ") and message in error
    assert len(error.splitlines()) == 1


def test_a_broken_record_is_a_line(fetch, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    for text in ("[]", '{"x": {"bytes": "1", "sha256": ""}}', "{"):
        (tmp_path / "data/fetched.json").write_text(text)
        assert fetch("dpr", served={}) == 1
        assert "fetched.json: not a record of downloads" in capsys.readouterr().err


def _written(task):
    """Returns the rows by hand of a task; those of validation stand in for training."""
    files = {}
    for release in releases.RELEASES:
        if release.task == task and not files:
            for name, content in release.files.items():
                name = name.removeprefix("glue/")
                files[name] = content
                files[re.sub("dev_matched|dev|val", "train", name)] = content
    return files


def _is_ready(task, folder, split="train"):
    return bool(load.load(registry.get(task), folder, split))


def test_readers_find_written_rows_in_the_public_layout(fetch, tmp_path, capsys):
    """Zip archives have the folder of their task, as the public ones have."""
    tasks = [*_TASKS_OF_ZIPS]
    served = {
        row.path: zipped(_written(row.name))
        for row in table.read()
        if row.name in tasks
    }
    assert fetch(*tasks, served=served) == 0, capsys.readouterr()
    for task in tasks:
        assert _is_ready(task, tmp_path / "data", "validation")
        # WNLI is for evaluation only.
        assert task == "wnli" or _is_ready(task, tmp_path / "data")


_TASKS_OF_ZIPS = (
    *("cola", "sst2", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"),
    *("boolq", "cb", "copa", "multirc", "record", "wic", "wsc"),
)


def test_readers_find_real_rows_in_the_public_layout(
    fetch, tmp_path, capsys, shared_dir
):
    samples = shared_dir / "data/hf_samples"

    def below(folder, prefix=""):
        return {
            prefix + path.relative_to(samples / folder).as_posix(): path.read_bytes()
            for path in (samples / folder).rglob("*")
            if path.is_file()
        }

    served = {
        f"superglue/{name}.zip": zipped(below(f"super_glue/{name}", f"{name}/"))
        for name in ("BoolQ", "CB", "COPA", "MultiRC", "ReCoRD", "RTE", "WiC", "WSC")
    }
    served |= {
        "rainbow/alphanli/alphanli-train-dev.zip": zipped(below("art")),
        "rainbow/physicaliqa-train-dev.zip": zipped(
            below("piqa/physicaliqa-train-dev.zip")
        ),
        "civil_comments/civil_comments.zip": zipped(below("jigsaw_unintended_bias")),
    }
    for name, folder in (("cosmosqa", "cosmos_qa"), ("hellaswag", "hellaswag")):
        served |= below(folder, f"rainbow/{name}/")
    tasks = [
        *("boolq", "cb", "copa", "multirc", "record", "superglue_rte", "wic", "wsc"),
        *("anli", "physicaliqa", "civil_comments", "cosmosqa", "hellaswag"),
    ]
    assert fetch(*tasks, served=served) == 0, capsys.readouterr()
    for task in tasks:
        assert _is_ready(task, tmp_path / "data", "validation"), task
        # The few rows of WSC have no correct phrase, which training needs.
        assert task == "wsc" or _is_ready(task, tmp_path / "data"), task
