"""Random keys derived from names, so that draws do not depend on execution order.

A key is folded with the names and indices of the place where it is used (stack, layer,
site). Layers in a loop, scanned and rematerialised layers, and all meshes then draw the
same numbers, which `hk.next_rng_key` would not guarantee.
"""

from collections.abc import Sequence
import zlib

import jax
import numpy as np


def fold(key: jax.Array | None, *places: str | int | jax.Array) -> jax.Array | None:
    """Returns `key` folded with each place in turn.

    Args:
        key: a JAX random key, or None in deterministic evaluation.
        *places: names (hashed by CRC-32) or integers, which may be traced.

    Returns:
        The derived key, or None if `key` is None.
    """
    if key is None:
        return None
    for place in places:
        key = jax.random.fold_in(
            key, _number(place) if isinstance(place, str) else place
        )
    return key


def fold_each(key: jax.Array, names: Sequence[str]) -> jax.Array:
    """Returns `key` folded with each name by itself: keys [n]."""
    numbers = np.array([_number(name) for name in names], np.uint32)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)


def _number(name: str) -> int:
    return zlib.crc32(name.encode())
