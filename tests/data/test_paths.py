"""Paths on local disks and in object stores: one behaviour of the same functions."""

import errno
import os
import threading

from etils import epath
import fsspec
import pytest

from clinometer.data import paths
from clinometer.data.errors import DataError
from clinometer.tests import object_store


@pytest.fixture(params=["local", "s3://bucket", "gs://bucket"])
def folder(request, tmp_path):
    """Returns a folder of the kind; its parent exists."""
    if request.param == "local":
        return tmp_path / "made"
    request.getfixturevalue("objects")
    return paths.parse(f"{request.param}/made")


def test_the_class_says_where_a_path_is(tmp_path):
    assert type(paths.parse("a/b")) is type(tmp_path)
    remote = paths.parse("gs://bucket/a")
    assert isinstance(remote, epath.Path) and str(remote) == "gs://bucket/a"
    assert paths.parse(remote) == remote
    assert paths.is_remote(remote) and not paths.is_remote("a/gs:/b")
    assert paths.absolute("gs://bucket/a/") == "gs://bucket/a"
    assert paths.absolute("a") == os.path.join(os.getcwd(), "a")
    assert paths.resolved(remote) == remote
    with pytest.raises(DataError, match=r"ftp://a: unknown scheme; accepted: gs://"):
        paths.parse("ftp://a")


def test_files_are_written_whole_and_read_back(folder):
    file = folder / "a" / "b.txt"
    assert not paths.exists(file) and not paths.is_folder(folder)
    assert paths.files_below(folder) == []
    for call in (paths.read_bytes, paths.size, paths.remove):
        with pytest.raises(FileNotFoundError) as caught:
            call(file)
        assert caught.value.filename == os.fspath(file)
        assert caught.value.errno == errno.ENOENT
    with pytest.raises(FileNotFoundError):
        paths.names(folder)
    paths.make_folder(folder / "a")
    paths.write_bytes(file, b"one")
    paths.write_text(file, "two\n")
    paths.write_bytes(folder / "c", b"")
    assert paths.read_bytes(file) == b"two\n" and paths.size(file) == 4
    assert paths.is_file(file) and not paths.is_folder(file)
    assert paths.is_folder(folder / "a") and not paths.is_file(folder / "a")
    assert paths.names(folder) == ["a", "c"]
    assert paths.files_below(folder) == ["a/b.txt", "c"]
    paths.remove(folder / "c")
    assert paths.names(folder) == ["a"]
    paths.remove_tree(folder)
    paths.remove_tree(folder)
    assert not paths.exists(folder)


def test_a_move_takes_all_files_along(folder):
    paths.make_folder(folder / "5" / "state")
    paths.write_bytes(folder / "5" / "state" / "x", b"1")
    paths.write_bytes(folder / "5" / "meta", b"2")
    paths.move(folder / "5", folder / "5.corrupt")
    assert paths.files_below(folder) == ["5.corrupt/meta", "5.corrupt/state/x"]
    paths.write_bytes(folder / "old", b"3")
    paths.move(folder / "5.corrupt" / "meta", folder / "old")
    assert paths.read_bytes(folder / "old") == b"2"


def test_files_are_found_by_name_and_depth(folder):
    for name in ("run.json", "a/run.json", "a/b/run.json", "a/other", "a/xrun.json"):
        paths.make_folder((folder / name).parent)
        paths.write_bytes(folder / name, b"")
    for depth, expected in (
        (None, ["a/b/run.json", "a/run.json", "run.json"]),
        (0, ["run.json"]),
        (1, ["a/run.json", "run.json"]),
        (2, ["a/b/run.json", "a/run.json", "run.json"]),
    ):
        found = paths.find(folder, "run.json", depth)
        assert [path.relative_to(folder).as_posix() for path in found] == expected
        assert all(type(path) is type(folder) for path in found)
    assert paths.find(folder / "none", "run.json") == []


def test_the_end_of_a_file(folder):
    paths.make_folder(folder)
    paths.write_bytes(folder / "log", b"0123456789")
    assert paths.read_end(folder / "log", 4) == b"6789"
    assert paths.read_end(folder / "log", 11) == b"0123456789"
    with pytest.raises(FileNotFoundError):
        paths.read_end(folder / "none", 4)


def test_one_of_many_creates_a_file(folder):
    paths.make_folder(folder)
    gate, won, lost = threading.Barrier(8), [], []

    def create(name):
        gate.wait()
        try:
            paths.create_bytes(folder / "lease", name.encode())
            won.append(name)
        except FileExistsError:
            lost.append(name)

    threads = [threading.Thread(target=create, args=(f"{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and len(lost) == 7
    assert paths.read_bytes(folder / "lease") == won[0].encode()
    assert paths.names(folder) == ["lease"]
    paths.write_bytes(folder / "lease", b"other")  # Which does not create.
    assert paths.read_bytes(folder / "lease") == b"other"


def test_files_go_to_a_store_and_back(folder, tmp_path):
    local = tmp_path / "local"
    local.write_bytes(b"x" * 1000)
    paths.make_folder(folder)
    if paths.is_remote(folder):
        paths.upload(local, folder / "there")
    else:
        paths.write_bytes(folder / "there", b"x" * 1000)
    paths.download(folder / "there", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == local.read_bytes()


def test_a_missing_library_is_named():
    for scheme, library in (("az", "adlfs"), ("hf", "huggingface_hub")):
        with pytest.raises(OSError, match=rf"[Ii]nstall {library}") as caught:
            paths.exists(f"{scheme}://a/b")
        assert caught.value.filename == f"{scheme}://a/b"


def test_other_errors_of_a_store_are_os_errors(objects, monkeypatch):
    def refuse(*unused, **more):
        raise RuntimeError("no credentials")

    monkeypatch.setattr(object_store.ObjectStore, "cat_file", refuse)
    with pytest.raises(OSError, match="RuntimeError: no credentials") as caught:
        paths.read_bytes("s3://bucket/a")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, "s3://bucket/a")


def test_listings_are_not_cached(objects):
    """Else a process would not see what another one writes."""
    paths.exists("s3://bucket/a")
    assert not fsspec.filesystem("s3").cached_listings


def test_the_stand_in_is_no_better_than_a_store(objects):
    path = epath.Path("s3://bucket/a/b")
    path.write_text("1")
    with pytest.raises(NotImplementedError, match="cannot be renamed"):
        path.rename("s3://bucket/a/c")
    with pytest.raises(NotImplementedError, match="written whole"):
        path.open("a")
    with path.open("wb") as file:
        file.write(b"2")
        assert path.read_text() == "1"
    assert path.read_text() == "2"
    path.unlink()
    assert not path.parent.exists()
    assert list(objects.iterdir()) == []
