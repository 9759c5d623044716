"""Crops and resizes images for training and evaluation.

Shapes: H x W pixels, uint8 [H, W, 3].
"""

import dataclasses
import math

import numpy as np
from PIL import Image

_TRIES = 10
_ASPECTS = (3 / 4, 4 / 3)
# Evaluation resizes images to 256 for crops of 224.
_MARGIN = 256 / 224


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How training images are drawn.

    Attributes:
        min_area: smallest share of the image's area that a crop has; 1 takes the
            centre crop of evaluation.
        flip: whether half of the images are mirrored.
    """

    min_area: float = 0.05
    flip: bool = True


def training(
    image: Image.Image,
    height: int,
    width: int,
    how: Augmentation,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns a random crop, resized, and perhaps mirrored: uint8 [H, W, 3].

    The crop's area is uniform in [min_area, 1] of the image's, and the logarithm of its
    aspect ratio over the output's uniform in [ln 3/4, ln 4/3], as in Szegedy et al.
    2015. After ten that do not fit the image, the crop is the centre's.

    Args:
        image: an RGB image.
        height: H.
        width: W.
        how: what is drawn.
        rng: where the random numbers are from; the same number is drawn for all images.
    """
    draws = rng.random((_TRIES, 4))
    mirrored = how.flip and rng.random() < 0.5
    box = None
    if how.min_area < 1:
        box = _crop(image.width, image.height, width / height, how.min_area, draws)
    if box is None:
        made = evaluation(image, height, width, keep_aspect=True)
    else:
        made = _resized(image, height, width, box)
    return made[:, ::-1] if mirrored else made


def evaluation(
    image: Image.Image, height: int, width: int, *, keep_aspect: bool
) -> np.ndarray:
    """Returns the centre of an image: uint8 [H, W, 3].

    The image is resized to 256/224 of the output, and the centre cut out.

    Args:
        image: an RGB image.
        height: H.
        width: W.
        keep_aspect: resize it so that it just covers that size; else to exactly that
            size, as in few-shot evaluation.
    """
    scales = _MARGIN * width / image.width, _MARGIN * height / image.height
    if keep_aspect:
        scales = (max(scales),) * 2
    # The part of the image that the crop shows, in its own pixels.
    part = width / scales[0], height / scales[1]
    left, top = (image.width - part[0]) / 2, (image.height - part[1]) / 2
    return _resized(image, height, width, (left, top, left + part[0], top + part[1]))


def _crop(
    width: int, height: int, aspect: float, min_area: float, draws: np.ndarray
) -> tuple[float, float, float, float] | None:
    """Returns the first crop that fits, (left, top, right, bottom), or None."""
    low, high = map(math.log, _ASPECTS)
    for area, ratio, across, down in draws:
        pixels = width * height * (min_area + (1 - min_area) * area)
        shape = aspect * math.exp(low + (high - low) * ratio)
        w, h = round(math.sqrt(pixels * shape)), round(math.sqrt(pixels / shape))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(across * (width - w + 1)), int(down * (height - h + 1))
            return left, top, left + w, top + h
    return None


def _resized(
    image: Image.Image,
    height: int,
    width: int,
    box: tuple[float, float, float, float],
) -> np.ndarray:
    # Fast for large photographs: whole pixels are averaged before the resampling.
    made = image.resize(
        (width, height), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0
    )
    return np.asarray(made)
