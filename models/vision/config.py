"""The configuration of Vision Transformers, validated on construction."""

import dataclasses

import jax.numpy as jnp

from clinometer import kernels
from clinometer.models import config as config_lib
from clinometer.models.layers import remat

POOLINGS = ("token", "mean")
LOSSES = ("softmax", "sigmoid")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """Shape and options of a Vision Transformer.

    Attributes:
        d_model: width of the residual stream.
        d_ff: hidden width of the feed-forward sublayers.
        num_heads: number of attention heads.
        d_kv: width of each head.
        num_layers: number of layers.
        image_height: height of the images in pixels, a multiple of `patch_size`.
        image_width: width, likewise.
        num_channels: number of colours of a pixel.
        patch_size: height and width of a patch in pixels.
        num_classes: number of classes.
        pooling: "token" represents an image by a learned token that is put before the
            patches, "mean" by the mean over the patches.
        loss: "softmax" for the cross-entropy over the classes, "sigmoid" for the sum of
            the binary cross-entropies of all classes.
        label_smoothing: share of a label that is spread evenly over all classes in
            training.
        dropout_rate: dropout rate after the embedding and in every sublayer.
        dtype: dtype of activations, "float32" or "bfloat16"; parameters, norms, softmax
            and loss are always float32.
        scan_layers: scan over stacked layers, which compiles faster for deep models.
        remat: what the backward pass recomputes, to save memory: "none", "layer"
            (everything within a layer) or "dots" (everything within a layer but the
            products with its parameters).
        implementation: kernels to use: "auto", "reference", "cpu" or "tpu".

    Raises:
        ConfigError: a field has the wrong type or is out of range.
    """

    d_model: int
    d_ff: int
    num_heads: int
    d_kv: int
    num_layers: int
    image_height: int = 224
    image_width: int = 224
    num_channels: int = 3
    patch_size: int = 32
    num_classes: int = 1000
    pooling: str = "token"
    loss: str = "softmax"
    label_smoothing: float = 0.0
    dropout_rate: float = 0.0
    dtype: str = "float32"
    scan_layers: bool = False
    remat: str = "none"
    implementation: str = "auto"

    # What the layers of all models read.
    norm = "layer"
    broadcast_dropout = False

    def __post_init__(self):
        config_lib.check_types(self)
        for field, accepted in (
            ("pooling", POOLINGS),
            ("loss", LOSSES),
            ("dtype", config_lib.DTYPES),
            ("remat", remat.POLICIES),
            ("implementation", ("auto", *kernels.IMPLEMENTATIONS)),
        ):
            config_lib.check_choice(self, field, accepted)
        for field in ("dropout_rate", "label_smoothing"):
            config_lib.check_share(self, field)
        for field in ("image_height", "image_width"):
            size = getattr(self, field)
            if size % self.patch_size:
                raise config_lib.ConfigError(
                    f"patch_size: {self.patch_size} does not divide {field}, {size}"
                )

    def check_parts(self, batch_size: int, parts: int) -> None:
        """Checks that batches can be divided evenly over devices.

        Args:
            batch_size: number of images that are processed at once.
            parts: number of parts into which the devices divide a batch.

        Raises:
            ConfigError: a batch does not divide; says what does.
        """
        if batch_size % parts:
            raise config_lib.ConfigError(
                f"a batch of {batch_size} images cannot be divided over {parts} parts "
                f"of the devices; accepted: multiples of {parts}"
            )

    @property
    def compute_dtype(self) -> jnp.dtype:
        """The dtype of activations."""
        return jnp.dtype(self.dtype)

    @property
    def num_patches(self) -> int:
        """Number of patches of an image."""
        rows, columns = (
            size // self.patch_size for size in (self.image_height, self.image_width)
        )
        return rows * columns

    @property
    def length(self) -> int:
        """N, the number of positions: one for each patch, and one for a token."""
        return self.num_patches + (self.pooling == "token")
