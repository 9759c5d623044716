"""Tests that folders, tar shards and ArrayRecords give the same set of images."""

import io
import json
import tarfile

from array_record.python import array_record_module
import numpy as np
import pytest

from clinometer.data.errors import DataError
from clinometer.data.images import decoding
from clinometer.data.images import sources
from clinometer.tests.data.images import images


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder of images in three forms, and their pixels by name."""
    place = tmp_path_factory.mktemp("images")
    made = images.write_folder(place / "files")
    for kind in ("tar", "webdataset", "records"):
        (place / kind).mkdir()
    for shard in range(2):
        chosen = dict(list(made.items())[shard::2])
        with tarfile.open(place / "tar" / f"{shard}.tar", "w") as tar:
            for name, pixels in chosen.items():
                _add(tar, name, images.png(pixels))
        with tarfile.open(place / "webdataset" / f"{shard}.tar", "w") as tar:
            for name, pixels in chosen.items():
                label, _, number = name.partition("/")
                key = f"{label}-{number.removesuffix('.png')}"
                _add(tar, f"{key}.png", images.png(pixels))
                _add(tar, f"{key}.cls", label.encode())
        writer = array_record_module.ArrayRecordWriter(
            str(place / "records" / f"{shard}.array_record"), "group_size:1"
        )
        for name, pixels in chosen.items():
            label, _, number = name.partition("/")
            told = json.dumps({"class": label, "name": number})
            writer.write(told.encode() + b"\n" + images.png(pixels))
        writer.close()
    return place, made


def _add(tar, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("kind", ["files", "tar", "webdataset", "records"])
def test_the_images_are_those_written(written, kind):
    place, made = written
    found = sources.open_folder(place / kind)
    assert found.classes == ("cat", "dog")
    assert list(found.labels) == [0] * 4 + [1] * 4
    for index, pixels in enumerate(made.values()):
        decoded = decoding.decode(found.read(index))
        np.testing.assert_array_equal(np.asarray(decoded), pixels)
    if kind != "webdataset":
        assert list(found.names) == list(made)
        assert found.fingerprint == sources.open_folder(place / "files").fingerprint


def test_subsets_of_classes_are_numbered_anew(written):
    found = sources.open_folder(written[0] / "files")
    dogs_first = found.of_classes(["dog", "cat"])
    assert dogs_first.classes == ("dog", "cat")
    assert list(dogs_first.labels) == [1] * 4 + [0] * 4
    part = dogs_first.subset([7, 0])
    assert list(part.names) == ["dog/3.png", "cat/0.png"]
    assert list(part.labels) == [0, 1]
    assert part.read(0) == found.read(7)
    assert part.fingerprint != dogs_first.fingerprint
    with pytest.raises(DataError, match="no class 'dgo'; did you mean 'dog'"):
        found.of_classes(["dgo"])


def test_images_are_held_out_by_name(tmp_path):
    images.write_folder(tmp_path, each=40)
    found = sources.open_folder(tmp_path)
    kept, held = found.held_out(0.25)
    assert not set(kept.names) & set(held.names)
    assert set(kept.names) | set(held.names) == set(found.names)
    # Binomial with 80 trials at 1/4: outside of 8 to 34 in less than 1e-3 of cases.
    assert 8 <= len(held) <= 34
    # Whether an image is held out does not depend on the others.
    part = found.subset(range(0, 80, 2))
    assert set(part.held_out(0.25)[1].names) <= set(held.names)
    with pytest.raises(DataError, match="leaves no image of the class 'cat'"):
        found.held_out(1e-9)


def test_bad_folders(tmp_path):
    def refused(words):
        with pytest.raises(DataError, match=words):
            sources.open_folder(tmp_path)

    with pytest.raises(DataError, match="is not a folder"):
        sources.open_folder(tmp_path / "missing")
    refused("has no images; accepted")
    images.write_folder(tmp_path, classes=("cat",))
    refused("all images are of one class, 'cat'")
    (tmp_path / "dog").mkdir()
    refused("the class 'dog' has no images")
    (tmp_path / "dog" / "a.txt").write_text("no image")
    (tmp_path / "loose.PNG").write_bytes(b"")
    refused(r"loose\.PNG: is an image in the root of the folder")


def test_damaged_shards(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        _add(tar, "a.png", images.png(images.pattern(0)))
    with pytest.raises(DataError, match=r"the image 'a\.png' has no class"):
        sources.open_folder(tmp_path)
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(content[:700])
    with pytest.raises(DataError, match=r"a\.tar: cannot be read as a tar archive"):
        sources.open_folder(tmp_path)
    (tmp_path / "a.tar").unlink()
    (tmp_path / "b.array_record").write_bytes(b"no records")
    with pytest.raises(DataError, match="cannot be read as ArrayRecord"):
        sources.open_folder(tmp_path)
    writer = array_record_module.ArrayRecordWriter(
        str(tmp_path / "b.array_record"), "group_size:1"
    )
    writer.write(images.png(images.pattern(0)))
    writer.close()
    with pytest.raises(DataError, match="record 0 begins with"):
        sources.open_folder(tmp_path)
