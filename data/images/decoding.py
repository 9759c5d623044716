"""Decodes images of any common format to RGB with Pillow."""

import io

import numpy as np
from PIL import Image
from PIL import ImageFile
from PIL import ImageOps

from clinometer.data.errors import DataError

# Modes of 16 and 32 bits, whose values Pillow would cut off at 255.
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_PER_BYTE = 257.0  # 65,535 / 255.


class ImageError(DataError):
    """An image that cannot be decoded; the message says why."""


def decode(encoded: bytes) -> Image.Image:
    """Decodes an image to 8-bit RGB, upright.

    Palettes, greyscale, CMYK and 16-bit values are converted, a rotation in the EXIF
    data is applied, transparency is ignored, and of an animation the first frame is
    taken.

    Args:
        encoded: the bytes of the file.

    Raises:
        ImageError: there are no bytes, the format is unknown, the file is damaged or
            cut off, or the image has far too many pixels.
    """
    if not encoded:
        raise ImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            image.seek(0)
            upright = ImageOps.exif_transpose(image)
            if upright.mode in _DEEP:
                values = np.asarray(upright, np.float64) / _PER_BYTE
                upright = Image.fromarray(np.uint8(np.clip(np.rint(values), 0, 255)))
            return upright.convert("RGB")
    except Image.UnidentifiedImageError:
        raise ImageError("is no image of a known format") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        Image.DecompressionBombError,
    ) as error:
        raise ImageError(f"cannot be decoded ({error})") from error


# Pillow's default, stated because a cut-off file must be found.
ImageFile.LOAD_TRUNCATED_IMAGES = False
