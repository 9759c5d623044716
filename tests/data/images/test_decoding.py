"""Tests that images of all kinds are read rightly, or refused by name."""

import io

import numpy as np
from PIL import Image
import pytest

from clinometer.data.images import decoding
from clinometer.tests.data.images import images

_PIXELS = images.pattern(0)


def _saved(image, kind="png", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _decoded(encoded):
    return np.asarray(decoding.decode(encoded))


def test_greyscale_and_bits():
    grey = _PIXELS[..., 0]
    expected = np.stack([grey] * 3, axis=-1)
    np.testing.assert_array_equal(_decoded(_saved(Image.fromarray(grey))), expected)
    deep = grey.astype(np.uint16) * 257
    np.testing.assert_array_equal(_decoded(_saved(Image.fromarray(deep))), expected)
    dark = np.array([[0, 128, 129, 65535]], np.uint16)  # 128 / 257 rounds to 0.
    assert list(_decoded(_saved(Image.fromarray(dark)))[0, :, 0]) == [0, 0, 1, 255]
    black = Image.fromarray(grey > 127)
    assert set(np.unique(_decoded(_saved(black)))) == {0, 255}


def test_palette_and_transparency():
    indexed = Image.fromarray(_PIXELS).quantize(16)
    np.testing.assert_array_equal(
        _decoded(_saved(indexed)), np.asarray(indexed.convert("RGB"))
    )
    alpha = np.concatenate([_PIXELS, 0 * _PIXELS[..., :1]], axis=-1)
    np.testing.assert_array_equal(_decoded(_saved(Image.fromarray(alpha))), _PIXELS)


def test_cmyk():
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[..., 0] = 255  # Cyan: no red.
    encoded = _saved(Image.fromarray(ink, "CMYK"), "jpeg", quality=100)
    colour = _decoded(encoded).reshape(-1, 3).mean(0)
    assert colour[0] < 10 and colour[1] > 245 and colour[2] > 245


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(orientation):
    """The eight orientations of the EXIF standard, as NumPy turns and mirrors."""
    undo = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, -1),
        7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
        8: lambda x: np.rot90(x),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    encoded = _saved(Image.fromarray(_PIXELS), exif=exif)
    np.testing.assert_array_equal(_decoded(encoded), undo(_PIXELS))


def test_the_first_frame_of_an_animation():
    frames = [Image.fromarray(images.pattern(k)).quantize(256) for k in range(3)]
    encoded = _saved(frames[0], "gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(
        _decoded(encoded), np.asarray(frames[0].convert("RGB"))
    )


@pytest.mark.parametrize(
    "encoded, words",
    [
        (b"", "the file is empty"),
        (b"no image", "no image of a known format"),
        (images.png(_PIXELS)[:-60], "cannot be decoded"),
        (_saved(Image.fromarray(images.pattern(0, 64, 64)), "jpeg")[:900], "cannot be"),
    ],
)
def test_broken_files(encoded, words):
    with pytest.raises(decoding.ImageError, match=words):
        decoding.decode(encoded)


def test_far_too_many_pixels(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(decoding.ImageError, match="exceeds limit"):
        decoding.decode(images.png(_PIXELS))  # 108 pixels, more than twice as many.
