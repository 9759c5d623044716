"""Tests that bad output paths are refused early, and that writes are atomic."""

import errno
import os

import pytest

from clinometer.kernels.options import outputs
from clinometer.kernels.options.errors import OptionError


def test_what_can_be_written_passes(tmp_path):
    outputs.check_folder("--out", tmp_path / "new" / "deep")
    outputs.check_file("--out", tmp_path / "new.json")
    (tmp_path / "old.json").touch()
    outputs.check_file("--out", tmp_path / "old.json")
    outputs.check_folder("--out", "a-relative/one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.json"]


def _cases(folder):
    (folder / "file").touch()
    (folder / "loose").symlink_to(folder / "nowhere")
    return {
        "is a file, not a folder": folder / "file" / "x" / "y",
        "has 300 bytes": folder / ("x" * 300) / "y",
        "has 400 bytes": folder / ("\xe9" * 200),
        "a path may have": folder / "/".join(["x" * 200] * 25),
        "not a f": folder / "loose",
    }


@pytest.mark.parametrize("check", [outputs.check_folder, outputs.check_file])
@pytest.mark.parametrize("number", range(5))
def test_what_cannot_is_refused(check, number, tmp_path):
    words, path = list(_cases(tmp_path).items())[number]
    with pytest.raises(OptionError, match=r"^--out: ") as caught:
        check("--out", path)
    if check is outputs.check_folder or "bytes" in words:
        assert words in str(caught.value)


def test_no_url_becomes_a_folder_of_its_name():
    assert outputs.given_local("a:/b") == "a:/b"
    for check in (outputs.check_folder, outputs.check_file):
        with pytest.raises(OptionError, match="--out: got 'gs://a/b', accepted"):
            check("--out", "gs://a/b")


def test_no_file_takes_the_place_of_a_device(tmp_path):
    for path in (os.devnull, tmp_path):
        with pytest.raises(OptionError, match="is not a file"):
            outputs.check_file("--out", path)


def test_permissions(tmp_path, monkeypatch):
    # Root may write everywhere, so what the kernel would answer a user stands in.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for check in (outputs.check_folder, outputs.check_file):
        with pytest.raises(OptionError, match="no permission to write in"):
            check("--out", tmp_path / "x")


def test_a_name_that_libraries_cannot_write_is_refused(tmp_path):
    for check in (outputs.check_folder, outputs.check_file):
        with pytest.raises(OptionError, match="is not UTF-8"):
            check("--out", tmp_path / "\udcff")


def test_no_path_is_no_path():
    assert outputs.given("x") == "x"
    with pytest.raises(OptionError, match="accepted: a path"):
        outputs.given("")


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "out.json"
    outputs.write_text(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            outputs.write_text(path, "new")
    assert path.read_text() == "old"
    outputs.write_text(path, "\xe9")
    assert path.read_bytes() == b"\xc3\xa9"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]
