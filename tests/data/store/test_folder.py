"""Only Clinometer's own files are ever replaced or removed."""

import json
import os
import shutil

import pytest

from clinometer.data import files
from clinometer.data.errors import DataError
from clinometer.data.store import folder as store_folder

_JOB = json.dumps({"version": 2, "inputs": [], "options": {}})


def _tree(folder):
    """Returns every file below a folder, with its contents."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def output(store, tmp_path):
    """Returns a copy of a store at the path of an output."""
    return shutil.copytree(store.path, tmp_path / "news")


def test_a_store_is_replaced_only_if_asked(output):
    folder = store_folder.Folder(str(output))
    before = _tree(output)
    with pytest.raises(DataError, match="already contains a token store"):
        folder.begin(_JOB, overwrite=False)
    assert not folder.begin(_JOB, overwrite=True)
    assert _tree(output) == before
    os.makedirs(folder.store)
    (output.with_name("news.partial") / "store/new").write_text("")
    folder.finish()
    assert list(_tree(output)) == ["new"]
    assert os.listdir(output.parent) == ["news"]


def test_a_store_may_be_called_partial(output):
    renamed = output.rename(output.with_name("news.partial"))
    assert store_folder.is_store(str(renamed))
    folder = store_folder.Folder(str(renamed))
    assert not folder.begin(_JOB, overwrite=True)
    with pytest.raises(DataError, match=r"news\.partial' already exists"):
        store_folder.Folder(str(output)).begin(_JOB, overwrite=True)


@pytest.mark.parametrize(
    "stranger",
    ["notes.txt", "train/notes.txt", "test/tokens-00000.array_record", "link", ".x"],
)
def test_a_store_with_other_files_is_kept(output, stranger):
    path = output / stranger
    path.parent.mkdir(exist_ok=True)
    if stranger == "link":
        path.symlink_to("/")
    else:
        path.write_text("precious")
    before = _tree(output)
    with pytest.raises(DataError, match=f"contains '{stranger}' in addition to a"):
        store_folder.Folder(str(output)).begin(_JOB, overwrite=True)
    assert _tree(output) == before
    assert os.listdir(output.parent) == ["news"]


@pytest.mark.parametrize(
    "manifest", ["", "{}", "[]", '{"name": "my web extension", "version": "1.0"}']
)
def test_a_folder_with_some_manifest_is_kept(output, manifest):
    (output / "manifest.json").write_text(manifest)
    before = _tree(output)
    with pytest.raises(DataError, match="does not look like an intact token store"):
        store_folder.Folder(str(output)).begin(_JOB, overwrite=True)
    (output / "vocabulary.model").unlink()
    with pytest.raises(DataError, match="is not a token store"):
        store_folder.Folder(str(output)).begin(_JOB, overwrite=True)
    del before["vocabulary.model"]
    assert _tree(output) == before


def test_a_link_is_not_overwritten(output):
    link = output.parent / "link"
    link.symlink_to("news")
    with pytest.raises(DataError, match="is not a token store"):
        store_folder.Folder(str(link)).begin(_JOB, overwrite=True)


def _partial(output, **names):
    partial = output.with_name(output.name + ".partial")
    for name, text in names.items():
        path = partial / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return partial


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"thesis.tex": "x"}, "it contains 'thesis.tex'"),
        ({"job.json": _JOB, "units__notes.txt": "x"}, "it contains 'units/notes.txt'"),
        ({"job.json": _JOB, "store__train__mine.array_record": "x"}, "mine"),
        ({"job.json": '{"name": "build"}'}, "its job.json does not describe a"),
        ({"job.json": "[" * 100000}, "its job.json does not describe a"),
        ({"units__000000.npz": "x"}, "it contains 'units/000000.npz'"),
    ],
)
def test_a_partial_folder_of_others_is_kept(tmp_path, names, message):
    output = tmp_path / "news"
    partial = _partial(output, **names)
    before = _tree(partial)
    with pytest.raises(DataError, match=message):
        store_folder.Folder(str(output)).begin(_JOB, overwrite=True)
    assert _tree(partial) == before


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_partial_that_is_no_folder_is_kept(tmp_path, kind):
    partial = tmp_path / "news.partial"
    if kind == "file":
        partial.write_text("precious")
    else:
        (tmp_path / "elsewhere").mkdir()
        partial.symlink_to("elsewhere")
    with pytest.raises(DataError, match="already exists and is not from an"):
        store_folder.Folder(str(tmp_path / "news")).begin(_JOB, overwrite=True)
    assert partial.exists()


def test_our_own_partial_folders_are_continued_or_cleared(tmp_path):
    output = tmp_path / "news"
    folder = store_folder.Folder(str(output))
    assert not folder.begin(_JOB, overwrite=False)
    (tmp_path / "news.partial/units/000000.unit").write_text("unit")
    assert folder.begin(_JOB, overwrite=False)
    assert os.listdir(folder.units) == ["000000.unit"]
    other = json.dumps(json.loads(_JOB) | {"version": 1})
    assert not folder.begin(other, overwrite=False)
    assert os.listdir(folder.units) == []
    # Killed before the job was described.
    (tmp_path / "news.partial/job.json").rename(
        tmp_path / "news.partial/job.json.tmp-7"
    )
    assert not folder.begin(_JOB, overwrite=False)
    assert sorted(_tree(tmp_path / "news.partial")) == ["job.json"]


def test_a_store_is_back_after_a_kill_between_two_renames(output):
    folder = store_folder.Folder(str(output))
    before = _tree(output)
    folder.begin(_JOB, overwrite=True)
    os.rename(output, output.with_name("news.partial") / "replaced")
    other = json.dumps(json.loads(_JOB) | {"version": 1})
    with pytest.raises(DataError, match="already contains a token store"):
        folder.begin(other, overwrite=False)
    assert _tree(output) == before


@pytest.mark.parametrize("kind", ["file", "fifo"])
def test_a_file_called_as_a_lock_is_kept(tmp_path, kind):
    path = tmp_path / "news.lock"
    if kind == "file":
        path.write_text("name = 'poetry'")
    else:
        os.mkfifo(path)
    with (
        pytest.raises(DataError, match="is needed for a lock file"),
        files.lock(str(path), wait=False),
    ):
        pass
    assert path.exists()
    if kind == "file":
        path.write_text("")  # as a killed process leaves it
        with files.lock(str(path), wait=False):
            pass
        assert not path.exists()
