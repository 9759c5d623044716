"""Copies of token stores: made once, checked, and made again if they are damaged."""

import errno
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from clinometer.data import cache
from clinometer.data import paths
from clinometer.data.errors import DataError
from clinometer.data.store import staging
from clinometer.data.store import token_store
from clinometer.tests import object_store

URL = "s3://bucket/stores/small"

_OPEN = """
import os
from clinometer.data.store import token_store
from clinometer.tests import object_store
object_store.register(os.environ[object_store.FOLDER])
store = token_store.TokenStore.open(%r)
print(store.split("train").read(0, 8).tolist())
"""


@pytest.fixture
def remote(store, objects, tmp_path, monkeypatch):
    """Returns a store at URL, without a copy; the cache is in `tmp_path`."""
    monkeypatch.setenv("CLINOMETER_CACHE", str(tmp_path))
    cache.say_once.cache_clear()
    for name in paths.files_below(store.path):
        paths.upload(os.path.join(store.path, name), paths.parse(URL) / name)
    return store


def copies(tmp_path):
    folder = tmp_path / "stores"
    return sorted(os.listdir(folder)) if folder.exists() else []


def reads_counted(monkeypatch):
    """Returns a list to which each object that is copied adds its name."""
    copied, download = [], paths.download

    def counting(path, local):
        copied.append(os.path.basename(path))
        download(path, local)

    monkeypatch.setattr(paths, "download", counting)
    return copied


def test_a_copy_is_made_once_and_equals_the_store(
    remote, tmp_path, monkeypatch, capsys
):
    copied = reads_counted(monkeypatch)
    opened = token_store.TokenStore.open(URL)
    assert opened.path == URL
    for split in ("train", "validation"):
        theirs, own = opened.split(split), remote.split(split)
        assert theirs.num_tokens == own.num_tokens
        np.testing.assert_array_equal(
            theirs.read(0, own.num_tokens), own.read(0, own.num_tokens)
        )
    (key,) = copies(tmp_path)
    assert f"reading the copy of {URL} in {tmp_path}/stores/{key}" in (
        capsys.readouterr().err
    )
    assert len(copied) == 5
    token_store.TokenStore.open(URL)
    assert len(copied) == 5
    # The same store at another place has the same copy; another store has not.
    paths.move(URL, "gs://other/moved")
    token_store.TokenStore.open("gs://other/moved")
    assert len(copied) == 5
    manifest = json.loads(paths.read_bytes("gs://other/moved/manifest.json"))
    manifest["name"] = "another"
    paths.write_text("gs://other/moved/manifest.json", json.dumps(manifest))
    token_store.TokenStore.open("gs://other/moved")
    assert len(copied) == 10 and len(copies(tmp_path)) == 2


def test_the_manifest_has_the_hashes_of_all_files(remote):
    hashes = {}
    for entry in remote.manifest.splits.values():
        assert entry["sha256"].keys() == entry["files"].keys()
        hashes |= entry["sha256"]
    for name, sha256 in hashes.items():
        content = pathlib.Path(remote.path, name).read_bytes()
        assert sha256 == hashlib.sha256(content).hexdigest()


def test_stores_without_hashes_are_copied(remote):
    manifest = json.loads(paths.read_bytes(f"{URL}/manifest.json"))
    for entry in manifest["splits"].values():
        del entry["sha256"]
    paths.write_text(f"{URL}/manifest.json", json.dumps(manifest))
    opened = token_store.TokenStore.open(URL)
    assert opened.split("train").num_tokens == remote.split("train").num_tokens


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: None, "tokens-00000.array_record is missing"),
        (lambda content: content[:-5], r"has \d+ bytes instead of the \d+"),
        (lambda content: content[:-5] + b"-----", r"differs .* \(sha256\)"),
    ],
)
def test_a_store_that_differs_from_its_manifest_is_not_used(
    remote, tmp_path, damage, said
):
    file = f"{URL}/train/tokens-00000.array_record"
    content = damage(paths.read_bytes(file))
    paths.remove(file)
    if content is not None:
        paths.write_bytes(file, content)
    with pytest.raises(DataError, match=f"Token store '{URL}': file .*{said}"):
        token_store.TokenStore.open(URL)
    assert [name for name in copies(tmp_path) if "." not in name] == []
    whole = pathlib.Path(remote.path, "train/tokens-00000.array_record")
    paths.write_bytes(file, whole.read_bytes())
    token_store.TokenStore.open(URL)


def test_a_damaged_copy_is_made_again(remote, tmp_path, monkeypatch):
    token_store.TokenStore.open(URL)
    (key,) = copies(tmp_path)
    file = tmp_path / "stores" / key / "vocabulary.model"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    # What a process left that was killed while it copied.
    shutil.copytree(file.parent, tmp_path / "stores" / f"{key}.partial")
    copied = reads_counted(monkeypatch)
    token_store.TokenStore.open(URL)
    assert len(copied) == 5 and copies(tmp_path) == [key]
    assert file.read_bytes() == whole


def test_of_many_processes_one_makes_the_copy(remote, tmp_path):
    imports = os.pathsep.join(path for path in sys.path if path)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN % URL],
            env=os.environ | {"PYTHONPATH": imports},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    ended = [process.communicate() for process in started]
    tokens = remote.split("train").read(0, 8).tolist()
    for out, err in ended:
        assert out == f"{tokens}\n", err
    assert sum("copying" in err for _, err in ended) == 1
    assert len(copies(tmp_path)) == 1


def test_no_room_for_a_copy_is_said_before_and_while_it_is_made(
    remote, tmp_path, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        with pytest.raises(DataError, match=r"0 MB free; .* CLINOMETER_CACHE"):
            token_store.TokenStore.open(URL)

    def refuse(path, local):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), local)

    monkeypatch.setattr(paths, "download", refuse)
    with pytest.raises(DataError, match=r"a copy of .*: No space left"):
        token_store.TokenStore.open(URL)


def test_an_unreadable_store_says_what_the_library_says(remote, monkeypatch):
    def refuse(*unused, **more):
        raise RuntimeError("no credentials")

    monkeypatch.setattr(object_store.ObjectStore, "get_file", refuse)
    with pytest.raises(DataError, match=r"could not be copied: .*no credentials"):
        token_store.TokenStore.open(URL)
    with pytest.raises(DataError, match=r"'s3://bucket/none' is not a token store"):
        token_store.TokenStore.open("s3://bucket/none")
    with pytest.raises(DataError, match=r"[Ii]nstall adlfs"):
        token_store.TokenStore.open("az://bucket/none")


def test_threads_of_a_process_share_a_copy(remote, tmp_path, monkeypatch):
    copied, opened = reads_counted(monkeypatch), []
    threads = [
        threading.Thread(target=lambda: opened.append(token_store.TokenStore.open(URL)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4 and len(copied) == 5


def test_a_file_without_a_hash_is_checked_by_its_size(objects, tmp_path, monkeypatch):
    monkeypatch.setenv("CLINOMETER_CACHE", str(tmp_path))
    paths.write_bytes(f"{URL}/a/b", b"1234")
    contents = {"a/b": staging.File(4, None)}
    folder = staging.local_copy(URL, contents, b"{}")
    assert pathlib.Path(folder, "a/b").read_bytes() == b"1234"
    assert pathlib.Path(folder, "manifest.json").read_bytes() == b"{}"
    with pytest.raises(DataError, match="has 4 bytes instead of the 5"):
        staging.local_copy(URL, {"a/b": staging.File(5, None)}, b"{ }")
