"""Writes small labelled images for tests."""

import io
import os

import numpy as np
from PIL import Image


def pattern(seed, height=9, width=12):
    """Returns random pixels, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def png(pixels):
    """Returns pixels as the bytes of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def write_folder(place, classes=("cat", "dog"), each=4):
    """Writes a folder of CLASS/NUMBER.png; returns {name: pixels}."""
    made = {}
    for k, name in enumerate(classes):
        os.makedirs(place / name)
        for number in range(each):
            pixels = pattern(100 * k + number)
            (place / name / f"{number}.png").write_bytes(png(pixels))
            made[f"{name}/{number}.png"] = pixels
    return made
