"""T5's relative position buckets."""

import math

import jax
import jax.numpy as jnp
import numpy as np

NUM_BUCKETS = 32
MAX_DISTANCE = 128


def bucket_starts(num_buckets: int, max_distance: int) -> tuple[int, ...]:
    """Returns the first distance of each one-sided bucket.

    The lower half of the buckets holds one distance each; the upper half grows
    logarithmically up to `max_distance`. The boundaries are computed in float64 with a
    small margin, so that a distance at an exact power is not one bucket too low
    (ARCHITECTURES.md#transformer-relative-position-bias).

    Args:
        num_buckets: buckets per direction, at least 2.
        max_distance: the distance from which all distances share the last bucket.

    Raises:
        ValueError: if there are too few buckets, or max_distance is too small.
    """
    max_exact = num_buckets // 2
    if max_exact < 1 or max_distance <= max_exact:
        raise ValueError(
            f"relative_position_bucket: needs at least 2 buckets per direction and "
            f"max_distance > {max_exact}; got num_buckets={num_buckets} per direction, "
            f"max_distance={max_distance}"
        )
    distances = np.arange(max_exact, max_distance + 1, dtype=np.float64)
    log_ratio = np.log(distances / max_exact) / math.log(max_distance / max_exact)
    steps = np.floor(log_ratio * (num_buckets - max_exact) + 1e-9).astype(np.int64)
    buckets = np.minimum(max_exact + steps, num_buckets - 1)
    starts = list(range(max_exact))
    for bucket in range(max_exact, num_buckets):
        starts.append(int(distances[np.searchsorted(buckets, bucket)]))
    return tuple(starts)


def relative_position_bucket(
    relative_position: jax.Array,
    *,
    bidirectional: bool,
    num_buckets: int = NUM_BUCKETS,
    max_distance: int = MAX_DISTANCE,
) -> jax.Array:
    """Returns T5's bucket of each relative position.

    Args:
        relative_position: key position minus query position; int, any shape.
        bidirectional: True for an encoder (half of the buckets for keys to the
            right), False for a causal decoder (keys to the right share bucket 0).
        num_buckets: the total number of buckets.
        max_distance: the distance from which all distances share the last bucket.

    Returns:
        int32 buckets in [0, num_buckets), of the shape of relative_position.

    Raises:
        ValueError: if there are too few buckets, or max_distance is too small.
    """
    offset = jnp.zeros_like(relative_position, jnp.int32)
    if bidirectional:
        num_buckets //= 2
        offset = jnp.where(relative_position > 0, num_buckets, 0).astype(jnp.int32)
        distance = jnp.abs(relative_position)
    else:
        distance = jnp.maximum(-relative_position, 0)
    starts = np.asarray(bucket_starts(num_buckets, max_distance)[1:], np.int32)
    # Counts the boundaries passed, which is exact, unlike float logarithms.
    passed = distance.astype(jnp.int32)[..., None] >= jnp.expand_dims(
        starts, tuple(range(distance.ndim))
    )
    return offset + jnp.sum(passed, axis=-1, dtype=jnp.int32)
