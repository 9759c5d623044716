"""The network of a Vision Transformer: patches, positions, pre-norm layers and head.

It follows Dosovitskiy et al. 2021; see ARCHITECTURES.md#vision-transformers.

Shapes: B batch, H x W pixels of c channels, p patch size, N positions, d model width,
C classes.
"""

from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.kernels.constraint import constrain
from clinometer.models import keys
from clinometer.models.layers import layer as layer_lib
from clinometer.models.layers import norm
from clinometer.models.layers import parameters
from clinometer.models.layers import products
from clinometer.models.layers import residual
from clinometer.models.layers import stack
from clinometer.models.layers import sublayers
from clinometer.models.vision import config as config_lib
from clinometer.models.vision import layers

# Flax draws convolutions from a truncated normal of exactly this variance times fan-in.
_LECUN = 1 / 0.87962566103423978**2


class Embedding(hk.Module):
    """Embeds the patches of an image, with learned positions and maybe a token.

    The parameters are `kernel` [p p c, d] and `bias` of the projection of patches,
    whose values are in the order of rows, columns and channels; `positions` [N, d],
    N(0, 1/d); and, with pooling "token", `token` [1, d], which is 0 at first and whose
    position comes first.

    Args:
        config: config of the model.
    """

    def __init__(self, config: config_lib.VisionConfig, name: str | None = None):
        super().__init__(name=name)
        self.config = config

    def __call__(self, images: jax.Array) -> jax.Array:  # [B, H, W, c] -> [B, N, d]
        """Embeds images with values in [-1, 1]."""
        config = self.config
        x = patches(images.astype(config.compute_dtype), config.patch_size)
        kernel = parameters.make(
            "kernel",
            (x.shape[-1], config.d_model),
            ("pixels", "embed"),
            parameters.truncated_normal(x.shape[-1], _LECUN),
        )
        x = products.dense(x, kernel)
        x = parameters.add_bias("bias", x, "embed")
        if config.pooling == "token":
            shape = (1, config.d_model)
            token = parameters.make("token", shape, ("one", "embed"), parameters.zeros)
            token = jnp.broadcast_to(token.astype(x.dtype), (x.shape[0], *shape))
            x = jnp.concatenate([token, x], axis=1)
        positions = parameters.make(
            "positions",
            (config.length, config.d_model),
            ("position", "embed"),
            parameters.normal(config.d_model**-0.5),
        )
        return x + positions[None].astype(x.dtype)


class Encoder(hk.Module):
    """The layers and the final norm.

    Args:
        config: config of the model.
    """

    def __init__(self, config: config_lib.VisionConfig, name: str | None = None):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self,
        x: jax.Array,  # [B, N, d]
        dropout_key: jax.Array | None,
        collect_health: bool,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Runs the layers.

        Args:
            x: embedded patches [B, N, d].
            dropout_key: random key; None for evaluation.
            collect_health: include diagnostics that are too costly for every step.

        Returns:
            [B, N, d], and {"SUBLAYER/NAME": diagnostics [layers]}.
        """
        context = sublayers.SublayerContext(None, collect_health=collect_health)

        def make_layer(name: str) -> stack.LayerFunction:
            layer = layer_lib.Layer(self.config, name=name)

            def apply(x: jax.Array, index: jax.Array, _: None) -> Any:
                key = keys.fold(dropout_key, "layer", index)
                return layer(
                    lambda: layers.make_sublayers(self.config), x, context, key
                )

            return apply

        x, extras = stack.run_layers(
            make_layer,
            self.config.num_layers,
            residual.drop(self.config, x, keys.fold(dropout_key, "input")),
            scan=self.config.scan_layers,
            remat=self.config.remat,
        )
        return norm.LayerNorm(name="final_norm")(x), extras.health


class Network:
    """The network; its methods must be called inside `hk.transform`."""

    def __init__(self, config: config_lib.VisionConfig):
        """Creates the modules.

        Args:
            config: config of the model.
        """
        self._config = config
        self._embedding = Embedding(config, name="embedding")
        self._encoder = Encoder(config, name="encoder")

    def features(
        self,
        images: jax.Array,  # [B, H, W, c]
        dropout_key: jax.Array | None = None,
        collect_health: bool = False,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Represents images with values in [-1, 1].

        Args:
            images: [B, H, W, c].
            dropout_key: random key; None for evaluation.
            collect_health: see `Encoder`.

        Returns:
            [B, d], and diagnostics {"encoder/SUBLAYER/NAME": [layers]}.
        """
        x = constrain(self._embedding(images), residual.STREAM)
        x, health = self._encoder(x, dropout_key, collect_health)
        health = {f"encoder/{name}": value for name, value in health.items()}
        if self._config.pooling == "token":
            return x[:, 0], health
        mean = jnp.mean(x.astype(jnp.float32), axis=1)
        return mean.astype(x.dtype), health

    def logits(self, features: jax.Array) -> jax.Array:
        """Returns the logits of the classes, float32 [B, C], of features [B, d].

        The head is 0 at first.
        """
        return Head(self._config.num_classes, name="head")(features)


class Head(hk.Module):
    """The dense layer to the classes, with parameters `kernel` [d, C] and `bias`.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int, name: str | None = None):
        super().__init__(name=name)
        self.num_classes = num_classes

    def __call__(self, features: jax.Array) -> jax.Array:  # [B, d] -> [B, C]
        """Returns float32 logits."""
        shape = (features.shape[-1], self.num_classes)
        kernel = parameters.make(
            "kernel", shape, ("embed", "classes"), parameters.zeros
        )
        logits = products.dense(features, kernel, jnp.float32)
        return parameters.add_bias("bias", logits, "classes")


def patches(images: jax.Array, patch_size: int) -> jax.Array:
    """Cuts images into patches.

    Args:
        images: [B, H, W, c].
        patch_size: p, which divides H and W.

    Returns:
        [B, H W / p^2, p p c]: rows of patches one after another, each with its values
        in the order of rows, columns and channels.
    """
    batch, height, width, channels = images.shape
    rows, columns = height // patch_size, width // patch_size
    cut = images.reshape(batch, rows, patch_size, columns, patch_size, channels)
    cut = cut.transpose(0, 1, 3, 2, 4, 5)
    return cut.reshape(batch, rows * columns, patch_size**2 * channels)
