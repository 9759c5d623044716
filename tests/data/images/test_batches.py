"""Tests that batches are a function of seed and step, with all images in an epoch."""

import itertools

import numpy as np
import pytest

from clinometer.data.errors import DataError
from clinometer.data.images import augmentation
from clinometer.data.images import batches
from clinometer.data.images import digits
from clinometer.data.images import sources
from clinometer.tests.data.images import images

_WHOLE = augmentation.Augmentation(min_area=1.0, flip=False)


def _make(images, labels, other_labels=None, other_shares=None):
    found = {"images": images, "labels": labels}
    if other_labels is not None:
        found |= {"other_labels": other_labels, "other_shares": other_shares}
    return found


@pytest.fixture
def folder(tmp_path):
    images.write_folder(tmp_path, each=6)
    return tmp_path


def _batches(folder, **options):
    options = {"height": 8, "width": 8, "batch_size": 4, "make_batch": _make} | options
    return batches.ImageBatches(sources.open_folder(folder), **options)


def _equal(a, b):
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("mixup", [0.0, 0.4])
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_do_not_depend_on_threads_rows_or_the_first_step(
    folder, mixup, threads
):
    found = _batches(folder, mixup=mixup, threads=threads, seed=3)
    plain = _batches(folder, mixup=mixup, seed=3)
    iterator = found.iterate(5)
    for step, batch in zip(range(5, 12), iterator):
        _equal(batch, plain.batch(step))
        part = plain.batch(step, [3, 1])
        _equal(part, {name: array[[3, 1]] for name, array in batch.items()})
    iterator.close()
    other = _batches(folder, mixup=mixup, seed=4)
    assert any(
        not np.array_equal(plain.batch(k)["images"], other.batch(k)["images"])
        for k in range(3)
    )


def test_an_epoch_has_each_image_once_and_the_next_has_another_order(folder):
    found = _batches(folder, how=_WHOLE)
    seen = [
        [image.tobytes() for step in steps for image in found.batch(step)["images"]]
        for steps in (range(3), range(3, 6))
    ]
    assert len(set(seen[0])) == 12 and set(seen[0]) == set(seen[1])
    assert seen[0] != seen[1]
    assert found.epoch(6) == 2


def test_images_are_augmented_anew_in_each_epoch(folder):
    found = _batches(folder)
    seen = {
        image.tobytes() for step in range(9) for image in found.batch(step)["images"]
    }
    assert len(seen) == 36


def test_mixed_images_have_both_labels(folder):
    plain, mixed = _batches(folder, how=_WHOLE), _batches(folder, how=_WHOLE, mixup=0.5)
    shares = set()
    for step in range(4):
        one, both = plain.batch(step), mixed.batch(step)
        share = both["other_shares"]
        assert np.all(share == share[0]) and 0 <= share[0] <= 0.5
        shares.add(float(share[0]))
        back = np.roll(one["images"].astype(np.float64), 1, axis=0)
        expected = (1 - share[0]) * one["images"].astype(np.float64) + share[0] * back
        np.testing.assert_allclose(both["images"], expected, atol=1e-4)  # float32.
        np.testing.assert_array_equal(both["labels"], one["labels"])
        np.testing.assert_array_equal(both["other_labels"], np.roll(one["labels"], 1))
    assert len(shares) == 4


def test_broken_images_are_left_out_and_named(folder, caplog):
    (folder / "dog" / "0.png").write_bytes(b"")
    (folder / "cat" / "2.png").write_bytes(b"no image")
    found = _batches(folder, how=_WHOLE)
    for step in range(3):
        found.batch(step)
    assert found.broken.reasons == {
        "dog/0.png": "the file is empty",
        "cat/2.png": "is no image of a known format",
    }
    assert caplog.text.count("it is left out") == 2
    whole = batches.ImageEvalBatches(
        sources.open_folder(folder), make_batch=_make, height=8, width=8, batch_size=5
    )
    labels = [int(label) for batch in whole for label in batch["labels"]]
    assert len(labels) == 15 and labels.count(-1) == 5
    assert labels.count(0) == labels.count(1) == 5
    for name in ("cat", "dog"):
        for file in (folder / name).iterdir():
            file.write_bytes(b"")
    with pytest.raises(DataError, match="none of the images can be decoded"):
        found.batch(0)


def test_evaluation_spaces_its_images_evenly(folder):
    found = batches.ImageEvalBatches(
        sources.open_folder(folder),
        make_batch=_make,
        height=8,
        width=8,
        batch_size=4,
        max_rows=6,
    )
    assert len(found) == 2
    labels = list(itertools.chain(*(batch["labels"] for batch in found)))
    assert labels == [0, 0, 0, 1, 1, 1, -1, -1]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"batch_size": 13}, "has 12 images, less than a batch of 13"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"seed": -1}, "Data seed -1"),
    ],
)
def test_bad_arguments(folder, options, words):
    with pytest.raises(DataError, match=words):
        _batches(folder, **options)


def test_digits(tmp_path):
    place = digits.folder(str(tmp_path))
    found = sources.open_folder(place)
    assert len(found) == 1797 and found.classes == tuple("0123456789")
    assert digits.folder(str(tmp_path)) == place
    from sklearn import datasets

    own = datasets.load_digits()
    number = int(found.names[5].split("/")[1].removesuffix(".png"))
    image = batches.read(found, 5, batches.Broken())
    np.testing.assert_array_equal(
        np.asarray(image)[..., 0], np.rint(own.images[number] * 255 / 16)
    )
    assert found.labels[5] == own.target[number]
