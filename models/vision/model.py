"""`VisionTransformer`, the pure functions of a Vision Transformer.

Shapes: B batch, H x W pixels of c channels, d model width, C classes.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from clinometer.models import config as models_config
from clinometer.models import keys
from clinometer.models import model as model_lib
from clinometer.models.layers import parameters
from clinometer.models.layers import pure
from clinometer.models.layers import stack
from clinometer.models.vision import batch as batch_lib
from clinometer.models.vision import config as config_lib
from clinometer.models.vision import counts
from clinometer.models.vision import loss as loss_lib
from clinometer.models.vision import network as network_lib

Params = model_lib.Params


class VisionTransformer:
    """A Vision Transformer as pure functions of a parameter dictionary.

    It implements `models.Model` for images, with the batches of `batch.py` and shapes
    given as `ImageShape`, and adds the features of images.

    Parameters are `{module: {name: float32 array}}` with a module name per layer
    (`encoder/layer_0/self_attention`). If `config.scan_layers` is set, all functions
    except `init` take them in the form of `models.stack_params`.

    Attributes:
        name: canonical name, e.g. "vit-NL24-S".
        config: the frozen config.
    """

    def __init__(self, name: str, config: config_lib.VisionConfig):
        """Transforms the network; allocates nothing.

        Args:
            name: canonical name.
            config: the frozen config.
        """
        self.name = name
        self.config = config
        # Canonical parameters have a name per layer, even if layers are scanned.
        canonical = dataclasses.replace(config, scan_layers=False, remat="none")

        def initialise() -> jax.Array:
            network = network_lib.Network(canonical)
            shape = (1, config.image_height, config.image_width, config.num_channels)
            return network.logits(network.features(jnp.zeros(shape))[0])

        def forward(
            images: jax.Array, dropout_key: jax.Array | None, collect_health: bool
        ) -> tuple[jax.Array, dict[str, jax.Array]]:
            network = network_lib.Network(config)
            features, health = network.features(images, dropout_key, collect_health)
            return network.logits(features), health

        self._init = pure.initialiser(initialise)
        self._forward = pure.function(forward)
        self._features = pure.function(
            lambda images: network_lib.Network(config).features(images)[0]
        )

    def init(self, key: jax.Array) -> Params:
        """Initialises parameters; each depends only on `key` and its own name."""
        return self._init(key)

    def param_axes(self) -> dict[str, dict[str, parameters.Axes]]:
        """Returns the axis names of all parameters in canonical form."""
        return parameters.axes_of(self.init)

    def from_canonical(self, params: Params) -> Params:
        """Converts canonical parameters to the form that all other functions take."""
        return stack.stack_params(params) if self.config.scan_layers else params

    def abstract_batch(
        self, batch_size: int, shape: batch_lib.ImageShape
    ) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the shapes and dtypes of a batch; see `batch.py`."""
        return batch_lib.abstract(batch_size, shape)

    def random_batch(
        self, seed: int, batch_size: int, shape: batch_lib.ImageShape
    ) -> dict[str, jax.Array]:
        """Returns a batch of random pixels and labels."""
        return batch_lib.random(seed, batch_size, shape, self.config.num_classes)

    def apply(self, params: Params, images: jax.Array) -> jax.Array:
        """Returns the logits of images, without dropout.

        Args:
            params: parameters.
            images: [B, H, W, c], with values in [-1, 1].

        Returns:
            float32 [B, C].
        """
        return self._forward(params, images, None, False)[0]

    def features(self, params: Params, images: jax.Array) -> jax.Array:
        """Returns the representations of images, from which the head is linear.

        Args:
            params: parameters.
            images: [B, H, W, c], with values in [-1, 1].

        Returns:
            float32 [B, d].
        """
        return self._features(params, images).astype(jnp.float32)

    def loss(
        self,
        params: Params,
        batch: model_lib.Batch,
        key: jax.Array | None = None,
        *,
        z_loss: float = 0.0,
        collect_health: bool = False,
    ) -> model_lib.LossOutputs:
        """Returns the summed losses of a batch; see `models.Model.loss`.

        Labels are smoothed in training only, that is with a random key.
        """
        logits, health = self._forward(
            params, batch_lib.pixels(batch), keys.fold(key, "encoder"), collect_health
        )
        smoothing = 0.0 if key is None else self.config.label_smoothing
        rows = loss_lib.of_rows(logits, batch, self.config.loss, smoothing)
        sums = jax.tree.map(jnp.sum, rows)
        sums = sums._replace(z_loss_sum=z_loss * sums.z_loss_sum)
        num_images = batch[batch_lib.LABELS].size
        return model_lib.LossOutputs(sums, num_images, jnp.float32(0), health)

    def row_losses(self, params: Params, batch: model_lib.Batch) -> model_lib.Loss:
        """Returns the losses of each row; see `models.Model.row_losses`."""
        logits = self.apply(params, batch_lib.pixels(batch))
        rows = loss_lib.of_rows(logits, batch, self.config.loss)
        return rows._replace(z_loss_sum=jnp.zeros_like(rows.z_loss_sum))

    @property
    def shape(self) -> batch_lib.ImageShape:
        """The shape of the images that the model takes."""
        config = self.config
        return batch_lib.ImageShape(
            config.image_height, config.image_width, config.num_channels
        )

    def check(self, shape: batch_lib.ImageShape) -> None:
        """Raises ConfigError unless the model accepts images of this shape."""
        own, given = (
            (one.height, one.width, one.channels) for one in (self.shape, shape)
        )
        if given != own:
            told = [" x ".join(map(str, sizes)) for sizes in (own, given)]
            raise models_config.ConfigError(
                f"{self.name} takes images of {told[0]} (image_height, image_width, "
                f"num_channels), but these have {told[1]}"
            )

    def check_parts(
        self, batch_size: int, shape: batch_lib.ImageShape, parts: int
    ) -> None:
        """Raises ConfigError unless batches divide; see `models.Model.check_parts`."""
        del shape
        self.config.check_parts(batch_size, parts)

    def count(
        self,
        batch_size: int,
        shape: batch_lib.ImageShape,
        *,
        platform: str = "cpu",
        trace: bool = True,
    ) -> counts.VisionCounts:
        """Counts parameters, multiply-adds and FLOPs; allocates nothing.

        Args:
            batch_size: number of images of a batch.
            shape: shape of an image.
            platform: platform of the executed FLOPs, "cpu", "tpu", ...
            trace: trace the model to check the closed forms and to count executed
                FLOPs; without it, counting takes about a millisecond.

        Raises:
            ConfigError: the model has more than `limits.PARAMETERS` parameters or does
                not accept the images.
            OptionError: the batch size is out of range.
            CountError: the closed form and the traced program disagree.
        """
        self.check(shape)
        return counts.count(self._with_form, batch_size, shape, platform, trace)

    def _with_form(self, **fields: Any) -> "VisionTransformer":
        """Returns this model with `scan_layers` or `remat` replaced."""
        return VisionTransformer(self.name, dataclasses.replace(self.config, **fields))
