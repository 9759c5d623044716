"""Counts the parameters, multiply-adds and FLOPs of a Vision Transformer.

See ARCHITECTURES.md#costs. Multiply-adds are those of the forward pass, per batch, as
*Scale Efficiently* prints them per image ("GFLOPs" in its Table 5).
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax

from clinometer.kernels import cost
from clinometer.models import config as models_config
from clinometer.models import limits
from clinometer.models import model as model_lib
from clinometer.models.counting import checked
from clinometer.models.vision import batch as batch_lib
from clinometer.models.vision import config as config_lib


@dataclasses.dataclass(frozen=True)
class VisionCounts:
    """The cost of a model at one batch size; FLOPs and multiply-adds are per batch.

    Attributes:
        model: canonical name.
        params_total: number of parameters.
        params_embedding: parameters of patches, token and positions.
        params_non_embedding: all other parameters.
        params_active: parameters used by one image, which are all.
        batch_size: number of images of a batch.
        image_height: height of an image in pixels.
        image_width: width of an image in pixels.
        macs_forward_batch: multiply-adds of the forward pass.
        flops_forward: FLOPs of the forward pass.
        flops_forward_non_embedding: the same without the projection of patches.
        flops_train_step: FLOPs of the forward and the backward pass.
        flops_forward_executed: FLOPs of the forward pass, counted on the jaxpr with the
            platform's kernels; like the next two, None if nothing was traced.
        flops_train_step_executed: the same for a training step without recomputation.
        flops_train_step_remat_executed: the same with every layer recomputed, as by
            the policy "layer".
    """

    model: str
    params_total: int
    params_embedding: int
    params_non_embedding: int
    params_active: int
    batch_size: int
    image_height: int
    image_width: int
    macs_forward_batch: int
    flops_forward: int
    flops_forward_non_embedding: int
    flops_train_step: int
    flops_forward_executed: int | None
    flops_train_step_executed: int | None
    flops_train_step_remat_executed: int | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the counts under the keys of `clinometer count --json`."""
        return dataclasses.asdict(self)


def embedding_params(config: config_lib.VisionConfig) -> int:
    """Returns the parameters of patches, token and positions."""
    patch = config.patch_size**2 * config.num_channels
    token = config.pooling == "token"
    return config.d_model * (patch + 1 + token + config.length)


def params(config: config_lib.VisionConfig) -> int:
    """Returns the number of parameters in closed form."""
    d, f, inner = config.d_model, config.d_ff, config.num_heads * config.d_kv
    attention = 4 * d * inner + 3 * inner + d
    feed_forward = 2 * d * f + f + d
    head = (d + 1) * config.num_classes
    layer = attention + feed_forward + 4 * d  # Two norms.
    return embedding_params(config) + config.num_layers * layer + 2 * d + head


def patch_macs(config: config_lib.VisionConfig) -> int:
    """Returns the multiply-adds of the projection of the patches of an image."""
    return (
        config.num_patches * config.patch_size**2 * config.num_channels * config.d_model
    )


def forward_macs(config: config_lib.VisionConfig) -> int:
    """Returns the multiply-adds of one image in closed form."""
    n, d, inner = config.length, config.d_model, config.num_heads * config.d_kv
    layer = n * (4 * d * inner + 2 * d * config.d_ff) + 2 * n * n * inner
    head = d * config.num_classes
    return patch_macs(config) + config.num_layers * layer + head


def count(
    with_form: Callable[..., Any],
    batch_size: int,
    shape: batch_lib.ImageShape,
    platform: str,
    trace: bool,
) -> VisionCounts:
    """Counts a model; see `VisionTransformer.count`.

    Args:
        with_form: (scan_layers, remat) -> the model with these options.
        batch_size: number of images of a batch.
        shape: shape of an image.
        platform: platform of the executed FLOPs.
        trace: trace the model to check the closed forms and count executed FLOPs.
    """
    checked.check_examples(batch_size)
    # The time to trace scanned layers does not grow with the depth.
    model = with_form(scan_layers=True, remat="none")
    config = model.config
    total, embedding = params(config), embedding_params(config)
    if total > limits.PARAMETERS:
        raise models_config.ConfigError(
            f"{model.name}: {total:,} parameters; at most {limits.PARAMETERS:,} are "
            "accepted"
        )
    macs = batch_size * forward_macs(config)
    executed: tuple[int | None, int | None, int | None] = (None, None, None)
    if trace:
        abstract_params = model_lib.abstract_params(model)
        batch = model.abstract_batch(batch_size, shape)
        sizes = [leaf.size for leaf in jax.tree.leaves(abstract_params)]
        checked.check_equal("parameters", total, sum(sizes))
        forward = jax.make_jaxpr(model.loss)(abstract_params, batch)
        checked.check_equal("forward FLOPs", 2 * macs, cost.count_jaxpr(forward))
        remat_model = with_form(scan_layers=True, remat="layer")
        executed = (
            cost.count_jaxpr(forward, platform),
            checked.train_step_flops(model, batch, platform),
            checked.train_step_flops(remat_model, batch, platform),
        )
    return VisionCounts(
        model=model.name,
        params_total=total,
        params_embedding=embedding,
        params_non_embedding=total - embedding,
        params_active=total,
        batch_size=batch_size,
        image_height=shape.height,
        image_width=shape.width,
        macs_forward_batch=macs,
        flops_forward=2 * macs,
        flops_forward_non_embedding=2 * (macs - batch_size * patch_macs(config)),
        # No gradient of the images is needed.
        flops_train_step=2
        * (checked.TRAIN_STEP_FORWARDS * macs - batch_size * patch_macs(config)),
        flops_forward_executed=executed[0],
        flops_train_step_executed=executed[1],
        flops_train_step_remat_executed=executed[2],
    )
