"""scikit-learn's handwritten digits as a folder of images, which needs no download.

They are 1,797 images of 8 x 8 pixels and 17 shades of grey, of ten classes.
"""

import os
import shutil

import numpy as np

from clinometer.data import cache
from clinometer.data import files

NAME = "digits"  # In place of a folder.
_COUNT = 1797
_WHITE = 16


def folder(directory: str | None = None) -> str:
    """Writes the images to a folder CLASS/NUMBER.png unless they are there.

    Args:
        directory: where the folder is made; None => `cache.folder()`.

    Returns:
        The folder.

    Raises:
        DataError: the folder cannot be written.
    """
    place = os.path.join(directory or cache.folder(), "digits-8x8")
    if os.path.isdir(place):
        return place
    # Imported here since they are of an extra, and not needed a second time.
    from PIL import Image
    from sklearn import datasets

    found = datasets.load_digits()
    if len(found.images) != _COUNT:
        raise ValueError(f"scikit-learn has {len(found.images)} digits, not {_COUNT}")
    with files.disk_errors("the digits"), files.lock(f"{place}.lock", wait=True):
        if os.path.isdir(place):  # By another process meanwhile.
            return place
        partial = f"{place}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        for number, (pixels, label) in enumerate(
            zip(found.images, found.target, strict=True)
        ):
            of_class = os.path.join(partial, str(label))
            os.makedirs(of_class, exist_ok=True)
            grey = np.uint8(np.rint(pixels * (255 / _WHITE)))
            Image.fromarray(grey).save(os.path.join(of_class, f"{number:04d}.png"))
        os.rename(partial, place)
    return place
