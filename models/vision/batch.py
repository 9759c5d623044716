"""The layout of a batch of labelled images; no other module knows its keys.

Pixels are 0 to 255, as in files, and are scaled to [-1, 1] on the device.

Shapes: B batch, H x W pixels of c channels.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.models import model as model_lib

FILLER = -1  # Label of a row that fills a batch and has no weight.
IMAGES, LABELS = "images", "labels"
# Of batches whose images are mixed: the labels of the second images, and their shares.
OTHER_LABELS, OTHER_SHARES = "other_labels", "other_shares"

_SIZE = ranges.Whole(1)


@dataclasses.dataclass(frozen=True)
class ImageShape:
    """The shape of an image.

    Attributes:
        height: H.
        width: W.
        channels: c.
        mixed: whether an image may be a mixture of two, with both labels (mixup).

    Raises:
        OptionError: a size is out of range.
    """

    height: int
    width: int
    channels: int = 3
    mixed: bool = False

    def __post_init__(self):
        for field in ("height", "width", "channels"):
            try:
                _SIZE.check(getattr(self, field))
            except OptionError as error:
                raise OptionError(f"{field}: {error}") from None


def make(
    images: np.ndarray,
    labels: np.ndarray,
    other_labels: np.ndarray | None = None,
    other_shares: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Builds a batch.

    Args:
        images: [B, H, W, c], 0 to 255; uint8, or float32 if they are mixed.
        labels: int32 [B]; `FILLER` for rows without weight.
        other_labels: of mixed images, the label of the second image, int32 [B].
        other_shares: of mixed images, the share of the second image, float32 [B].
    """
    batch = {IMAGES: images, LABELS: labels}
    if other_labels is not None:
        batch |= {OTHER_LABELS: other_labels, OTHER_SHARES: other_shares}
    return batch


def abstract(batch_size: int, shape: ImageShape) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes and dtypes of a batch built by `make`."""
    pixels = (batch_size, shape.height, shape.width, shape.channels)
    labels = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    if not shape.mixed:
        return make(jax.ShapeDtypeStruct(pixels, jnp.uint8), labels)
    images = jax.ShapeDtypeStruct(pixels, jnp.float32)
    shares = jax.ShapeDtypeStruct((batch_size,), jnp.float32)
    return make(images, labels, labels, shares)


def random(
    seed: int, batch_size: int, shape: ImageShape, num_classes: int
) -> dict[str, jax.Array]:
    """Returns a batch of random pixels and labels."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, leaf in abstract(batch_size, shape).items():
        if name == OTHER_SHARES:
            made[name] = rng.random(leaf.shape, np.float32)
        else:
            most = 256 if name == IMAGES else num_classes
            made[name] = rng.integers(0, most, leaf.shape).astype(leaf.dtype)
    return jax.tree.map(jnp.asarray, made)


def pixels(batch: model_lib.Batch) -> jax.Array:
    """Returns the images with values in [-1, 1], float32 [B, H, W, c]."""
    return scaled(batch[IMAGES])


def scaled(images: jax.Array) -> jax.Array:
    """Scales pixels from [0, 255] to [-1, 1], float32."""
    return images.astype(jnp.float32) / 127.5 - 1
