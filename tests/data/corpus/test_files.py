"""Every file in a corpus's sources is read once, or reported as skipped."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest

from clinometer.data.corpus import documents as corpus
from clinometer.data.corpus import files as corpus_files
from clinometer.data.errors import DataError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Returns a temporary folder that is the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _make(*names):
    for name in names:
        path = pathlib.Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def _left_out(found):
    return {item.origin: item.reason for item in found.left_out}


def test_files_are_found_sorted_and_once(folder):
    _make("b.txt", "a.jsonl.gz", "sub/c.tar.xz")
    found = corpus_files.find([str(folder), str(folder / "*.txt")])
    names = ("a.jsonl.gz", "b.txt", "sub/c.tar.xz")
    assert found.files == [str(folder / name) for name in names]
    assert not found.left_out and not found.broken


@pytest.mark.parametrize("source", ["missing", "empty", "*.txt", "x.pdf", "\0", "*\0"])
def test_bad_sources_say_what_is_accepted(folder, source):
    (folder / "empty").mkdir()
    (folder / "x.pdf").write_bytes(b"")
    with pytest.raises(DataError, match=r"\.jsonl.*\.array_record"):
        corpus_files.find([source])


def test_spellings_of_a_path_are_one_file(folder):
    _make("c/a.txt", "c/d/b.txt")
    for again in ("./c", "c//", "c/../c", str(folder / "c"), "c/*", "c/**", "c/a.txt"):
        found = corpus_files.find(["c", again])
        assert found.files == ["c/a.txt", "c/d/b.txt"]
        assert not found.left_out


def test_links_are_followed_and_count_once(folder):
    _make("elsewhere/e.txt", "c/a.txt")
    os.link("c/a.txt", "c/hard.txt")
    os.symlink("a.txt", "c/soft.txt")
    os.symlink("../elsewhere", "c/linked")
    os.symlink(".", "c/loop")
    os.symlink("a.txt", "c/z.pdf")
    found = corpus_files.find(["c"])
    assert found.files == ["c/a.txt", "c/linked/e.txt"]
    again = "another path to the same file or folder"
    assert _left_out(found) == {
        "c/hard.txt": again,
        "c/soft.txt": again,
        "c/loop": again,
        "c/z.pdf": corpus.OTHER_KIND,
    }


def test_links_to_nothing_are_broken(folder):
    _make("c/a.txt")
    os.symlink("nowhere", "c/dangling.txt")
    os.symlink("self.txt", "c/self.txt")
    found = corpus_files.find(["c"])
    assert found.files == ["c/a.txt"]
    assert [record.origin for record in found.broken] == [
        "c/dangling.txt",
        "c/self.txt",
    ]
    assert found.broken[0].reason == "a dangling link"
    assert "symbolic links" in found.broken[1].reason
    with pytest.raises(DataError, match=r"dangling\.txt' is a dangling link"):
        corpus_files.find(["c/dangling.txt"])


def test_what_cannot_be_listed_is_broken(folder, monkeypatch):
    _make("c/a.txt", "c/locked/b.txt")
    listdir = os.listdir

    def refuse(path):
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)  # permissions do not bind root
    found = corpus_files.find(["c"])
    assert found.files == ["c/a.txt"]
    reason = "cannot be read: Permission denied"
    assert found.broken == [corpus.BrokenRecord("c/locked", reason)]


def test_hidden_and_other_files_are_named(folder):
    _make(
        "c/a.TXT",
        "c/b.Json.GZ",
        "c/.hidden.txt",
        "c/.ipynb_checkpoints/a-checkpoint.txt",
        "c/__MACOSX/._a.txt",
        "c/notes.pdf",
        "c/no_ending",
        "c/sub/d.csv",
    )
    found = corpus_files.find(["c"])
    assert found.files == ["c/a.TXT", "c/b.Json.GZ"]
    assert _left_out(found) == {
        "c/.hidden.txt": corpus.HIDDEN,
        "c/.ipynb_checkpoints": corpus.HIDDEN,
        "c/__MACOSX": corpus.HIDDEN,
        "c/notes.pdf": corpus.OTHER_KIND,
        "c/no_ending": corpus.OTHER_KIND,
        "c/sub/d.csv": corpus.OTHER_KIND,
    }
    assert corpus_files.summary(found.left_out) == [
        "hidden: 3 (c/.hidden.txt, c/.ipynb_checkpoints, c/__MACOSX)",
        "unsupported file type: 3 (c/no_ending, c/notes.pdf, c/sub/d.csv)",
    ]
    # Hidden files that are named explicitly are read.
    assert corpus_files.find(["c/.hidden.txt"]).files == ["c/.hidden.txt"]
    assert corpus_files.find(["c/.ipynb_checkpoints"]).files


def test_globs_take_folders_too(folder):
    _make("c/a.txt", "c/sub/b.txt", "c/folder.txt/d.txt", "c/x.pdf")
    found = corpus_files.find(["c/*"])
    assert found.files == ["c/a.txt", "c/folder.txt/d.txt", "c/sub/b.txt"]
    assert _left_out(found) == {"c/x.pdf": corpus.OTHER_KIND}


def test_special_files_are_never_opened(folder):
    _make("c/a.txt")
    os.mkfifo("c/fifo.txt")
    os.symlink("/dev/zero", "c/device.jsonl")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("c/socket.txt")
        found = corpus_files.find(["c"])
    assert found.files == ["c/a.txt"]
    special = "a FIFO, socket or device"
    assert _left_out(found) == dict.fromkeys(
        ("c/fifo.txt", "c/socket.txt", "c/device.jsonl"), special
    )
    with pytest.raises(DataError, match="'c/fifo.txt' is a FIFO, socket or device"):
        corpus_files.find(["c/fifo.txt"])
    with pytest.raises(DataError, match="is a FIFO, socket or device"):
        corpus_files.find(["/dev/zero"])


def test_a_command_ends_with_a_fifo_in_the_corpus(folder):
    _make("c/a.txt")
    os.mkfifo("c/fifo.txt")
    program = "import sys; from clinometer.data.corpus import files as f; " + (
        "print(f.find(sys.argv[1:]).files)"
    )
    imports = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", program, "c"],
        env=os.environ | {"PYTHONPATH": imports},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stdout == "['c/a.txt']\n"


def test_token_stores_are_no_text(folder, store):
    _make("c/a.txt", "c/news.partial/job.json", "c/news.partial/units/000000.npz")
    os.symlink(store.path, "c/store")
    found = corpus_files.find(["c"])
    assert found.files == ["c/a.txt"]
    assert _left_out(found) == dict.fromkeys(
        ("c/store", "c/news.partial"), "a token store"
    )
    with pytest.raises(DataError, match="Skipped: a token store: 1"):
        corpus_files.find([store.path])
