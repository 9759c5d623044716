"""Tests of crops: exact where they are whole pixels, and drawn as stated."""

import math

import numpy as np
from PIL import Image
import pytest

from clinometer.data.images import augmentation
from clinometer.tests.data.images import images


def test_the_centre_of_evaluation():
    # 32 x 48 to 28 x 28: the height is 256/224 of the output's, so nothing is resized.
    pixels = images.pattern(0, 32, 48)
    found = augmentation.evaluation(Image.fromarray(pixels), 28, 28, keep_aspect=True)
    np.testing.assert_array_equal(found, pixels[2:30, 10:38])


def test_without_its_aspect_the_whole_width_is_used():
    # Columns rise evenly, so that resampling keeps a line.
    ramp = np.tile(np.arange(0, 240, 2, dtype=np.uint8)[None, :, None], (32, 1, 3))
    found = augmentation.evaluation(Image.fromarray(ramp), 28, 28, keep_aspect=False)
    # The 28 of 32 central columns of the image of 120 columns.
    step = 120 / 32 * 2
    expected = 2 * (120 / 2 - 0.5) + (np.arange(28) - 13.5) * step
    np.testing.assert_allclose(found[5, :, 0], expected, atol=1.0)  # Whole numbers.


def test_crops_are_drawn_as_stated():
    width, height, aspect = 200, 100, 1.5
    rng = np.random.default_rng(0)
    areas, ratios = [], []
    for _ in range(2000):
        box = augmentation._crop(width, height, aspect, 0.05, rng.random((10, 4)))
        assert box is not None
        left, top, right, bottom = box
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        areas.append((right - left) * (bottom - top) / (width * height))
        ratios.append((right - left) / (bottom - top) / aspect)
    # Rounding to whole pixels moves both by up to some percent.
    assert 0.04 < min(areas) < 0.08 and max(areas) > 0.9
    assert 0.70 < min(ratios) < 0.80 and 1.25 < max(ratios) < 1.42
    # Up to half of the area every shape fits, so that none was drawn again.
    small = np.array(areas) < 0.5
    # Uniform: standard errors of 0.004 for about 950 areas and 0.0054 for ratios.
    assert np.mean(np.array(areas)[small]) == pytest.approx(0.275, abs=0.017)
    assert abs(np.mean(np.log(ratios)[small])) < 0.022


def test_a_crop_that_never_fits_is_the_centre():
    assert augmentation._crop(1000, 1, 1.0, 0.9, np.full((10, 4), 0.5)) is None
    line = Image.fromarray(images.pattern(0, 1, 1000))
    how = augmentation.Augmentation(min_area=0.9, flip=False)
    found = augmentation.training(line, 4, 4, how, np.random.default_rng(0))
    expected = augmentation.evaluation(line, 4, 4, keep_aspect=True)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("flip", [True, False])
def test_half_of_the_images_are_mirrored(flip):
    image = Image.fromarray(images.pattern(0, 8, 8))
    how = augmentation.Augmentation(min_area=1.0, flip=flip)
    centre = augmentation.evaluation(image, 7, 7, keep_aspect=True)
    mirrored = 0
    for seed in range(400):
        found = augmentation.training(image, 7, 7, how, np.random.default_rng(seed))
        if not np.array_equal(found, centre):
            np.testing.assert_array_equal(found, centre[:, ::-1])
            mirrored += 1
    # Binomial with 400 trials at 1/2: within 4 standard deviations.
    assert abs(mirrored - 200 * flip) <= 4 * math.sqrt(100) * flip
