"""Random keys derived from names, so that draws do not depend on execution order.

A key is folded with the names and indices of the place where it is used (stack, layer,
site). Layers in a loop, scanned and rematerialised layers, and all meshes then draw the
same numbers, which `hk.next_rng_key` would not guarantee.
"""

import zlib

import jax


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
        if isinstance(place, str):
            place = zlib.crc32(place.encode())
        key = jax.random.fold_in(key, place)
    return key
