"""Creates the parameters of all models, with initialisers and named axes.

One table of rules (axis name -> mesh axis) can partition any model by its axis names,
as with the logical axes of Flax and T5X. Names are given where a parameter is created;
`axes_of` collects them from a trace, without allocating anything.

Parameters are float32, regardless of the dtype of activations. Initialisers with the
same arguments are one object, so that their parameters are drawn together (`pure.py`).

Shapes: N inputs and M outputs of a dense layer.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import contextvars
import functools
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models.layers import products

Axes = tuple[str, ...]
Initialiser = Callable[[Sequence[int], Any], jax.Array]  # (shape, dtype) -> array

# Only in the stacked form (`models.stack_params`): no parameter is created with it.
LAYERS = "layers"

# The accepted axis names and their meaning.
AXES: Mapping[str, str] = {
    "embed": "d, width of the residual stream",
    "joined_embed": "concatenated vectors of the residual stream, a multiple of d",
    "embed_part": "the first channels of the residual stream that a layer writes",
    "factor": "inner width of a factorised embedding",
    "vocab": "V, rows of the embedding table",
    "mlp": "f, hidden width of a feed-forward layer",
    "expert": "E, experts of a sparse layer",
    "heads": "H, one number or filter per head",
    "joined_heads": "H k, the concatenated heads of queries; T5X: joined_kv",
    "joined_kv_heads": "G k, the concatenated heads of keys or values",
    "relative_buckets": "buckets of relative positions",
    "length": "S, positions that are mixed with each other",
    "mixing": "hidden width of a layer that mixes positions",
    "position": "absolute positions of a learned table",
    "recurrence": "R, steps of a recurrent stack that have an embedding",
    "channels": "width within a gated or convolutional sublayer",
    "hidden_channels": "width between two dense layers after a convolution",
    "taps": "K, width of a convolution's window",
    "joined_taps": "H K, the concatenated predicted filters of all heads",
    "softmaxes": "components of a mixture of softmaxes",
    "context": "width of the context vector of each softmax",
    "pixels": "the values of a patch of an image",
    "classes": "C, classes of images",
    "one": "1, for vectors that hold a scalar",
    LAYERS: "L, the layers of a stack; the leading axis in the stacked form",
}

# {module: {name: axes}} of the parameters made so far, while `axes_of` traces.
_record: contextvars.ContextVar[dict[str, dict[str, Axes]] | None] = (
    contextvars.ContextVar("parameter_axes", default=None)
)

ones: Initialiser = jnp.ones
zeros: Initialiser = jnp.zeros


@functools.cache
def constant(value: float) -> Initialiser:
    """Returns an initialiser to a constant."""
    return hk.initializers.Constant(value)


@functools.cache
def normal(stddev: float) -> Initialiser:
    """Returns an initialiser from N(0, stddev^2)."""
    return hk.initializers.RandomNormal(stddev)


@functools.cache
def truncated_normal(fan_in: int, scale: float = 1.0) -> Initialiser:
    """Returns an initialiser from N(0, scale / fan_in), cut at two standard deviations.

    The cut reduces the standard deviation by a factor of 0.88, which is not undone.

    Args:
        fan_in: number of inputs.
        scale: variance times fan_in, before the cut.
    """
    return hk.initializers.TruncatedNormal((scale / fan_in) ** 0.5)


@functools.cache
def glorot_uniform(fan_in: int, fan_out: int) -> Initialiser:
    """Returns an initialiser from U(-a, a) with a = (6 / (fan_in + fan_out))^1/2.

    Source: Glorot & Bengio 2010.

    Args:
        fan_in: number of inputs.
        fan_out: number of outputs.
    """
    limit = (6.0 / (fan_in + fan_out)) ** 0.5
    return hk.initializers.RandomUniform(-limit, limit)


def make(name: str, shape: Sequence[int], axes: Axes, init: Initialiser) -> jax.Array:
    """Returns a parameter of the current Haiku module and registers its axis names.

    Args:
        name: name within the module.
        shape: shape of the parameter.
        axes: a name from `AXES` for each axis, each at most once, so that a table of
            rules cannot assign one mesh axis to two of them.
        init: one of this module's initialisers, or any (shape, dtype) -> array.

    Returns:
        The parameter, float32.

    Raises:
        ValueError: `axes` does not match the shape, contains a name twice or an unknown
            name, or differs from those given elsewhere for the same parameter.
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
    bias_init: Initialiser = zeros,
) -> jax.Array:  # [..., M]
    """Multiplies x by a kernel [N, M], in the dtype of x.

    Args:
        name: name of the kernel.
        x: inputs [..., N].
        num_outputs: M.
        axes: names of the axes N and M.
        init: initialiser of the kernel; None for `truncated_normal(N)`.
        with_bias: add a bias named "NAME_bias"; see `add_bias`.
        bias_init: initialiser of the bias.

    Returns:
        [..., M].
    """
    num_inputs = x.shape[-1]
    init = init or truncated_normal(num_inputs)
    kernel = make(name, (num_inputs, num_outputs), axes, init)
    y = products.dense(x, kernel)
    return add_bias(f"{name}_bias", y, axes[1], bias_init) if with_bias else y


def add_bias(
    name: str, x: jax.Array, axis: str, init: Initialiser = zeros
) -> jax.Array:
    """Adds a bias [N] to x [..., N]; `axis` is the name of N."""
    bias = make(name, x.shape[-1:], (axis,), init)
    # Explicit, so that a strict rank-promotion setting accepts the sum.
    return x + bias[(None,) * (x.ndim - 1)].astype(x.dtype)


def axes_of(
    init: Callable[[jax.Array], Mapping[str, Mapping[str, Any]]],
) -> dict[str, dict[str, Axes]]:
    """Returns the axis names of all parameters; traces `init` without allocating.

    Args:
        init: (random key) -> {module: {name: parameter}}. It must not be jitted, since
            names are not recorded where JAX reuses a cached trace.

    Returns:
        {module: {name: axes}} for the modules and names that `init` returns.

    Raises:
        ValueError: a parameter was not created by `make`.
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
            f"parameters without named axes: {', '.join(unnamed)}; create them with "
            "`make` or `dense` of clinometer.models.layers.parameters, not with "
            "hk.get_parameter or a Haiku module that has parameters"
        )
    return {
        module: {name: record[module][name] for name in leaves}
        for module, leaves in shapes.items()
    }
