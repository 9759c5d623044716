"""`constrain`: shards an activation over the axes stated by `shard_over`."""

from collections.abc import Sequence

import jax

from clinometer.kernels import shard_context

_KINDS = shard_context.KINDS


def constrain(x: jax.Array, axes: Sequence[str | None]) -> jax.Array:
    """Shards an array, and its gradient, over the mesh axes of the context.

    Without it the compiler guesses how activations are sharded, from the parameters and
    from the kernels around them. It returns `x` unchanged outside of `shard_over` and
    along mesh axes that are manual, inside the caller's own `jax.shard_map`.

    A dimension that its mesh axes don't divide is left to the compiler, such as the
    single head of shared keys or the first example of a batch. This is no error, as
    results don't depend on it; kernels and training steps refuse a batch that does not
    divide.

    Args:
        x: array of any shape.
        axes: what each dimension of x is: "batch", "heads" (any dimension that the same
            axes shard, such as the hidden width of a feed-forward layer or the
            vocabulary), "experts", or None for a dimension that is not sharded. In an
            array with experts, the other dimensions are not sharded over their axes.

    Returns:
        x, with the same values.

    Raises:
        ValueError: `axes` has an unknown name or not one entry per dimension.
    """
    if len(axes) != x.ndim or any(axis not in (*_KINDS, None) for axis in axes):
        raise ValueError(
            f"constrain: axes: must have one of {', '.join(map(repr, _KINDS))} or None "
            f"for each dimension of shape {x.shape}; got {tuple(axes)!r}"
        )
    sharding = shard_context.here()
    if sharding is None:
        return x
    spec: list[object] = []
    for size, kind in zip(x.shape, axes, strict=True):
        names = () if kind is None else sharding.names(kind, axes)
        divides = size % sharding.parts(names) == 0
        spec.append(
            (names or None) if divides else jax.sharding.PartitionSpec.UNCONSTRAINED
        )
    if not any(isinstance(names, tuple) for names in spec):
        return x
    return jax.lax.with_sharding_constraint(
        x, jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec(*spec))
    )
