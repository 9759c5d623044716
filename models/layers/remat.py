"""What a layer's backward pass recomputes instead of keeping it in memory."""

from collections.abc import Callable
from typing import Any

import haiku as hk
import jax

from clinometer.models.layers import products

_policies = jax.checkpoint_policies
_KEPT = {
    "layer": None,
    "dots": _policies.save_from_both_policies(
        _policies.dots_with_no_batch_dims_saveable,
        _policies.save_only_these_names(products.RESULT),
    ),
}
# By name: "none" keeps all activations; "layer" keeps only the input of each layer;
# "dots" also keeps the products with parameters, and recomputes the rest, such as
# norms, activation functions, attention and experts.
POLICIES = ("none", *_KEPT)


def wrap(function: Callable[..., Any], policy: str) -> Callable[..., Any]:
    """Returns a function of a layer whose backward pass recomputes activations.

    Args:
        function: the function, called inside a Haiku module.
        policy: one of `POLICIES`.
    """
    return function if policy == "none" else hk.remat(function, policy=_KEPT[policy])
