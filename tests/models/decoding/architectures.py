"""Models of every architecture for tests of decoding, with suitable parameters."""

from typing import Any

import jax
import numpy as np

from clinometer.tests.models import every_architecture as every

# Options whose decoding state differs most from the others.
OWN_STATES = [
    every.Example("evolved-pico", {"cap_parallel_heads": True}),
    every.Example("universal-pico", {"recurrence": "highway"}),
    every.Example("universal-pico", {"recurrence": "act", "act_type": "global"}),
    every.Example("performer-pico", {"linear_cross_attention": True}),
]
EXAMPLES = [*every.EXAMPLES, *OWN_STATES]


def draw_params(model: Any, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Draws parameters of a model without compiling anything.

    Tied embeddings are small, as otherwise most tokens would be followed by themselves.
    The scale of the decoder's final norm is large to compensate, as otherwise all
    tokens would be about equally likely.
    """
    rng = np.random.default_rng(seed)

    def draw(path: Any, shape: jax.ShapeDtypeStruct) -> np.ndarray:
        if path[-1].key == "scale":
            is_last = path[0].key == "decoder/final_norm"
            return np.full(shape.shape, 10.0 if is_last else 1.0, np.float32)
        deviation = 2.0 * shape.shape[0] ** -0.5
        if path[-1].key == "table" or len(shape.shape) == 1:
            deviation = 0.2
        return rng.normal(0, deviation, shape.shape).astype(np.float32)

    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree_util.tree_map_with_path(draw, shapes)
