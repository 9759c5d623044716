"""Digests of the leaves of a state, which checkpoints store to notice damage.

They are computed where the leaves are. Each element's bits are mixed with its index,
and the results are summed modulo 2^32: integer sums do not depend on their order, so a
digest depends neither on the mesh nor on the number of processes. Each device sums over
its own elements, and the host adds the sums of the devices and of the other processes.
A change of a single element is always noticed, other changes with a probability of
1 - 2^-64.

    p = mix(index + 1)           # row-major index in the leaf, modulo 2^32
    m = mix(bits ^ p)            # bits of the element; of words of 32 bits if it has 64
    digest = sum(m), sum(m * (2 p + 1))

`mix` is the finaliser of MurmurHash3 (Appleby, 2011), which permutes the integers.
Checkpoints with metadata of version 1 have the CRC-32 of each leaf instead.
"""

from collections.abc import Callable
import functools
from typing import Any
import zlib

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
import numpy as np

from clinometer.train import state as state_lib
from clinometer.train.run import canonical


def compute(state: state_lib.TrainState) -> dict[str, str]:
    """Returns the digest of each leaf, 16 hexadecimal digits, by its canonical path.

    A leaf has the same digest in a stacked state and in one that is not. In a run of
    several processes, all must call this.
    """
    parts = jax.device_get(canonical.map_leaves(_sums_of_shards, state))

    def add(leaf: jax.Array, parts: list[np.ndarray], stacked: bool) -> np.ndarray:
        total = np.zeros((leaf.shape[0], 2) if stacked else 2, np.uint32)
        for shard, part in zip(_distinct_shards(leaf), parts, strict=True):
            total[shard.index[0] if stacked else ...] += part
        return total

    sums = canonical.map_leaves(add, state, parts)
    if jax.process_count() > 1:
        leaves, treedef = jax.tree.flatten(sums)
        everywhere = multihost_utils.process_allgather(
            np.concatenate(leaves, axis=None)
        )
        total = np.sum(everywhere, axis=0, dtype=np.uint32)
        ends = np.cumsum([leaf.size for leaf in leaves])
        split = np.split(total, ends[:-1])
        sums = treedef.unflatten(map(np.reshape, split, map(np.shape, leaves)))
    return _by_path(sums, lambda pair: "".join(f"{part:08x}" for part in pair))


def compute_crc32(state: state_lib.TrainState) -> dict[str, int]:
    """Returns the CRC-32 of the bytes of each leaf, by its canonical path.

    Leaves are fetched one by one, also parts that other processes hold; all must call
    this.
    """

    def crc32(leaf: jax.Array, stacked: bool) -> np.ndarray:
        whole = multihost_utils.process_allgather(leaf, tiled=True)
        layers = whole if stacked else [whole]
        values = [zlib.crc32(np.ascontiguousarray(layer)) for layer in layers]
        return np.array(values if stacked else values[0], np.uint32)

    return _by_path(canonical.map_leaves(crc32, state), int)


def _by_path(values: state_lib.TrainState, show: Callable[[Any], Any]) -> Any:
    tree = canonical.to_canonical(values)
    return {
        jax.tree_util.keystr(path): show(value)
        for path, value in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def _distinct_shards(leaf: jax.Array) -> list[jax.Shard]:
    """Returns shards of this process; all processes together have each element once."""
    return [shard for shard in leaf.addressable_shards if shard.replica_id == 0]


def _sums_of_shards(leaf: jax.Array, stacked: bool) -> list[jax.Array]:
    """Returns the sums of each of the `_distinct_shards`, uint32 [2], or [L, 2]."""
    shape, strides, stride = leaf.shape[stacked:], [], max(leaf.dtype.itemsize // 4, 1)
    for size in reversed(shape):
        strides.insert(0, stride % 2**32)
        stride *= size
    sums = []
    for shard in _distinct_shards(leaf):
        start = [part.start or 0 for part in shard.index[stacked:]]
        offset = sum(first * stride for first, stride in zip(start, strides))
        offset = np.uint32(offset % 2**32)
        sums.append(_sums(shard.data, offset, tuple(strides), stacked))
    return sums


@functools.partial(jax.jit, static_argnums=(2, 3))
def _sums(
    part: jax.Array, offset: jax.Array, strides: tuple[int, ...], stacked: bool
) -> jax.Array:
    """Returns the two sums of a part of a leaf, of each layer if it is stacked.

    Args:
        part: the part.
        offset: index in the leaf of its first element.
        strides: difference between the indices of neighbours along each axis.
        stacked: whether there is a leading layer axis, which has no stride.
    """
    words = _words(part)
    shape = words.shape[stacked:]
    place = jnp.full(shape, offset + np.uint32(1))
    strides = (*strides, 1) if len(strides) < len(shape) else strides
    for axis, stride in enumerate(strides):
        place += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * np.uint32(stride)
    place = _mix(place)
    mixed = _mix(words ^ (place[None] if stacked else place))
    weighted = mixed * (2 * place + np.uint32(1))[(None,) * stacked]
    # One reduction of both: for two, XLA would store `mixed`, as large as the leaf.
    sums = jax.lax.reduce(
        (mixed, weighted),
        (np.uint32(0), np.uint32(0)),
        lambda a, b: (a[0] + b[0], a[1] + b[1]),
        tuple(range(stacked, words.ndim)),
    )
    return jnp.stack(sums, axis=-1)


def _words(leaf: jax.Array) -> jax.Array:
    """Returns the bits of each element as uint32; those of 64 bits as two, [..., 2]."""
    if leaf.dtype == jnp.bool_:
        return leaf.astype(jnp.uint32)
    bits = min(8 * leaf.dtype.itemsize, 32)
    return jax.lax.bitcast_convert_type(leaf, f"uint{bits}").astype(jnp.uint32)


def _mix(x: jax.Array) -> jax.Array:
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
