"""Random keys named by place, so that any execution order draws the same numbers.

A key is folded with the names and indices of the place where it is used
(stack, layer, site). Loop and stacked forms, rematerialisation and any mesh then
agree, which the order of `hk.next_rng_key` would not give.
"""

import zlib

import jax


def fold(key: jax.Array | None, *places: str | int | jax.Array) -> jax.Array | None:
    """Returns `key` folded with each place in turn; None (no randomness) stays None.

    Args:
        key: a JAX random key, or None in deterministic evaluation.
        *places: names (hashed by CRC-32) or integers, which may be traced.
    """
    if key is None:
        return None
    for place in places:
        if isinstance(place, str):
            place = zlib.crc32(place.encode())
        key = jax.random.fold_in(key, place)
    return key
