"""Copies of a state in host memory, from which a checkpoint is written.

The next train step overwrites the donated buffers of the state while it is written.
Each process therefore copies its part of the state first: of the devices with the same
shard of a leaf, one copies it, chosen so that all copy equally much. The layers of a
stack are views of its copy.
"""

from collections.abc import Sequence
import dataclasses
import math

import jax
import numpy as np

from clinometer.train import state as state_lib
from clinometer.train.run import canonical

# Larger arrays are written in several chunks, since readers take whole chunks.
_CHUNK_BYTES = 64 * 2**20

Index = tuple[slice, ...]


@dataclasses.dataclass(frozen=True)
class HostCopy:
    """The part of an array that this process writes.

    Attributes:
        shape: shape of the whole array.
        dtype: dtype of the array.
        chunk: shape of the chunks that the file is divided into.
        pieces: (place in the array, values), each of one or more whole chunks.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    chunk: tuple[int, ...]
    pieces: Sequence[tuple[Index, np.ndarray]]

    @property
    def nbytes(self) -> int:
        """Number of bytes in the pieces."""
        return sum(values.nbytes for _, values in self.pieces)

    def __getitem__(self, layer: int) -> "HostCopy":
        """Returns one layer of a stack; its pieces are views."""
        pieces = [
            (index[1:], values[layer - (index[0].start or 0)])
            for index, values in self.pieces
            if layer in range(*index[0].indices(self.shape[0]))
        ]
        return HostCopy(self.shape[1:], self.dtype, self.chunk[1:], pieces)


def take(state: state_lib.TrainState, *, views: bool = False) -> state_lib.TrainState:
    """Copies the part of a state that this process writes.

    Args:
        state: the state.
        views: whether, on CPUs, the copies may be views of the state, whose buffers
            then must stay as they are until they are written.

    Returns:
        The state with each array replaced by a `HostCopy`.
    """
    loads: dict[int, list[int]] = {}  # Bytes of each replica, by their number.
    chosen = canonical.map_leaves(lambda leaf, stacked: _own(leaf, loads), state)
    for shard in jax.tree.leaves(chosen):
        shard.data.copy_to_host_async()

    def copy(leaf: jax.Array, shards: list[jax.Shard], stacked: bool) -> HostCopy:
        chunk = _chunk(leaf, stacked)
        pieces = [(shard.index, _to_host(shard.data, views)) for shard in shards]
        return HostCopy(leaf.shape, leaf.dtype, chunk, pieces)

    return canonical.map_leaves(copy, state, chosen)


def _own(leaf: jax.Array, loads: dict[int, list[int]]) -> list[jax.Shard]:
    """Returns the shards of a leaf that this process writes; adds to `loads`."""
    shard_shape = leaf.sharding.shard_shape(leaf.shape)
    num_shards = math.prod(
        size // part for size, part in zip(leaf.shape, shard_shape, strict=True)
    )
    num_replicas = leaf.sharding.num_devices // num_shards
    load = loads.setdefault(num_replicas, [0] * num_replicas)
    writer = load.index(min(load))
    load[writer] += leaf.nbytes
    return [shard for shard in leaf.addressable_shards if shard.replica_id == writer]


def _chunk(leaf: jax.Array, stacked: bool) -> tuple[int, ...]:
    """Returns the chunks of a leaf: shards of a layer, cut along its first axis."""
    shape = leaf.sharding.shard_shape(leaf.shape)
    layer = shape[1:] if stacked else shape
    if not layer:
        return shape
    rows, row_bytes = layer[0], leaf.dtype.itemsize * math.prod(layer[1:])
    wanted = max(_CHUNK_BYTES // row_bytes, 1)
    divisors = (n for n in range(min(rows, wanted), 0, -1) if rows % n == 0)
    return (*shape[: len(shape) - len(layer)], next(divisors), *layer[1:])


def _to_host(array: jax.Array, views: bool) -> np.ndarray:
    """Copies an array of one device; on CPUs `np.asarray` alone returns a view."""
    on_host = np.asarray(array)
    return on_host.copy() if array.device.platform == "cpu" and not views else on_host
