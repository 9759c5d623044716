"""Makes every parameter of every model: its initialiser and the names of its axes.

A name says what an axis is, so that one table of rules (axis name -> mesh axis) can
partition any model, as Flax's logical axes and T5X's do. Names are given where a
parameter is made; `axes_of` collects them from a trace, without allocating.

Parameters are float32, whatever the dtype of the activations.

Shapes: N inputs and M outputs of a dense layer.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import contextvars
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

Axes = tuple[str, ...]
Initialiser = Callable[[Sequence[int], Any], jax.Array]  # (shape, dtype) -> array

# Of the stacked form (`models.stack_params`) only: no parameter is made with it.
LAYERS = "layers"

# Every name that an axis can have.
AXES: Mapping[str, str] = {
    "embed": "d, width of the residual stream",
    "joined_embed": "vectors of the residual stream side by side, a multiple of d",
    "embed_part": "the first channels of the residual stream that a layer writes",
    "factor": "inner width of a factorised embedding",
    "vocab": "V, rows of the embedding table",
    "mlp": "f, hidden width of a feed-forward layer",
    "expert": "E, experts of a sparse layer",
    "heads": "H, one number or filter for each head",
    "joined_heads": "H k, the heads of queries side by side; T5X: joined_kv",
    "joined_kv_heads": "G k, the heads of keys or values side by side",
    "relative_buckets": "buckets of relative positions",
    "length": "S, positions that are mixed with each other",
    "mixing": "hidden width of a layer that mixes positions",
    "position": "absolute positions of a learned table",
    "recurrence": "R, recurrences of a stack that embed their step",
    "channels": "width within a gated or convolutional sublayer",
    "hidden_channels": "width between two dense layers after a convolution",
    "taps": "K, width of a convolution's window",
    "joined_taps": "H K, the predicted filters of all heads side by side",
    "softmaxes": "components of a mixture of softmaxes",
    "context": "width of the vector that each softmax has of its own",
    "one": "1, for vectors that hold a scalar",
    LAYERS: "L, the layers of a stack; leads in the stacked form",
}

# {module: {name: axes}} of the parameters made so far, while `axes_of` traces.
_record: contextvars.ContextVar[dict[str, dict[str, Axes]] | None] = (
    contextvars.ContextVar("parameter_axes", default=None)
)

ones: Initialiser = jnp.ones
zeros: Initialiser = jnp.zeros


def constant(value: float) -> Initialiser:
    """Returns the initialiser to one value."""
    return hk.initializers.Constant(value)


def normal(stddev: float) -> Initialiser:
    """Returns the initialiser N(0, stddev^2)."""
    return hk.initializers.RandomNormal(stddev)


def truncated_normal(fan_in: int, scale: float = 1.0) -> Initialiser:
    """Returns the initialiser N(0, scale / fan_in), cut at two deviations.

    The cut makes the deviation 0.88 times as large, and it isn't scaled back.
    """
    return hk.initializers.TruncatedNormal((scale / fan_in) ** 0.5)


def glorot_uniform(fan_in: int, fan_out: int) -> Initialiser:
    """Returns the initialiser U(-a, a) with a = (6 / (fan_in + fan_out))^1/2.

    Source: Glorot & Bengio 2010.
    """
    limit = (6.0 / (fan_in + fan_out)) ** 0.5
    return hk.initializers.RandomUniform(-limit, limit)


def make(name: str, shape: Sequence[int], axes: Axes, init: Initialiser) -> jax.Array:
    """Makes, or finds again, a parameter of the current Haiku module.

    Args:
        name: within its module.
        shape: of the parameter.
        axes: a name of `AXES` for each axis, each at most once, so that a table of
            rules can't give a mesh axis to two of them.
        init: one of this file's initialisers, or any (shape, dtype) -> array.

    Returns:
        The parameter, float32.

    Raises:
        ValueError: `axes` doesn't fit the shape, or holds a name that is unknown.
    """
    module = hk.experimental.current_name()
    if not isinstance(axes, tuple) or len(axes) != len(shape):
        raise ValueError(
            f"parameter {module}/{name}: axes: must be a tuple of {len(shape)} names, "
            f"one for each axis of shape {tuple(shape)}; got {axes!r}"
        )
    accepted = [axis for axis in AXES if axis != LAYERS]
    for index, axis in enumerate(axes):
        if axis not in accepted or axis in axes[:index]:
            problem = "named twice" if axis in accepted else "unknown"
            raise ValueError(
                f"parameter {module}/{name}: axes: {axis!r} is {problem} in {axes}; "
                f"accepted, each once: {', '.join(accepted)}"
            )
    record = _record.get()
    if record is not None:
        known = record.setdefault(module, {}).setdefault(name, axes)
        if known != axes:
            raise ValueError(
                f"parameter {module}/{name}: axes: {axes} here, {known} elsewhere"
            )
    return hk.get_parameter(name, shape, jnp.float32, init)


def dense(
    name: str,
    x: jax.Array,  # [..., N]
    num_outputs: int,
    axes: Axes,
    init: Initialiser | None = None,
    *,
    with_bias: bool = False,
) -> jax.Array:  # [..., M]
    """Multiplies by a kernel [N, M], in the dtype of x.

    Args:
        name: of the kernel.
        x: [..., N].
        num_outputs: M.
        axes: the names of N and M.
        init: of the kernel; None for `truncated_normal(N)`.
        with_bias: add a bias, see `add_bias`, named "NAME_bias".
    """
    num_inputs = x.shape[-1]
    init = init or truncated_normal(num_inputs)
    kernel = make(name, (num_inputs, num_outputs), axes, init)
    y = x @ kernel.astype(x.dtype)
    return add_bias(f"{name}_bias", y, axes[1]) if with_bias else y


def add_bias(name: str, x: jax.Array, axis: str) -> jax.Array:
    """Adds a bias [N] to x [..., N], in the dtype of x; `axis` names N."""
    bias = make(name, x.shape[-1:], (axis,), zeros)
    # Explicit, so that a strict rank-promotion setting accepts the sum.
    return x + bias[(None,) * (x.ndim - 1)].astype(x.dtype)


def axes_of(
    init: Callable[[jax.Array], Mapping[str, Mapping[str, Any]]],
) -> dict[str, dict[str, Axes]]:
    """Returns the names of all parameters' axes; traces `init`, allocates nothing.

    Args:
        init: (random key) -> {module: {name: parameter}}, not jitted, since a compiled
            program says no names.

    Returns:
        {module: {name: axes}}, of the modules and names that `init` returns.

    Raises:
        ValueError: a parameter wasn't made by `make`.
    """
    token = _record.set({})
    try:
        shapes = jax.eval_shape(lambda: init(jax.random.key(0)))
        record = _record.get()
    finally:
        _record.reset(token)
    unnamed = [
        f"{module}/{name}"
        for module, leaves in shapes.items()
        for name in leaves
        if name not in record.get(module, {})
    ]
    if unnamed:
        raise ValueError(
            f"parameters without named axes: {', '.join(unnamed)}; make them by `make` "
            "or `dense` of clinometer.models.layers.parameters, not by Haiku's "
            "get_parameter or a module of Haiku's that has parameters"
        )
    return {
        module: {name: record[module][name] for name in leaves}
        for module, leaves in shapes.items()
    }
