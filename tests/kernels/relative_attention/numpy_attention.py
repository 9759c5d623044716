"""Relative attention in float64 NumPy, independent of the code under test."""

import numpy as np

# First distances, as ARCHITECTURES.md#transformer-relative-position-bias lists them.
ENCODER_STARTS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]


def bucket(distance, bidirectional, max_distance=128):
    """Bucket of key position minus query position, by its formula."""
    buckets, offset = 32, 0
    if bidirectional:
        buckets, offset = 16, 16 * (distance > 0)
        n = abs(distance)
    else:
        n = max(-distance, 0)
    exact = buckets // 2
    if n < exact:
        return offset + n
    steps = np.log(n / exact) / np.log(max_distance / exact) * (buckets - exact)
    return offset + min(exact + int(steps + 1e-9), buckets - 1)


def bias(table, queries, keys, offset, bidirectional, max_distance=128):
    """Returns [H, T, S]."""
    table = np.asarray(table, np.float64)
    return np.array(
        [
            [
                table[:, bucket(s - (t + offset), bidirectional, max_distance)]
                for s in range(keys)
            ]
            for t in range(queries)
        ]
    ).transpose(2, 0, 1)


def mask(batch, queries, keys, causal, offset, key_mask, query_segments, key_segments):
    """Returns bool [B, T, S]: which keys a query may attend to."""
    allowed = np.ones((batch, queries, keys), bool)
    if causal:
        allowed &= np.arange(keys) <= np.arange(queries)[:, None] + offset
    if key_mask is not None:
        allowed &= np.asarray(key_mask)[:, None, :]
    if query_segments is not None:
        allowed &= (
            np.asarray(query_segments)[:, :, None]
            == np.asarray(key_segments)[:, None, :]
        )
    return allowed


def attention(
    query,
    key,
    value,
    table,
    *,
    causal=False,
    bidirectional=None,
    max_distance=128,
    query_offset=0,
    key_mask=None,
    query_segments=None,
    key_segments=None,
):
    """[B, T, H, D]; masked logits are -1e9."""
    query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
    batch, queries, heads, _ = query.shape
    keys = key.shape[1]
    logits = np.einsum("bthd,bshd->bhts", query, key)
    if table is not None:
        two_sided = not causal if bidirectional is None else bidirectional
        logits += bias(table, queries, keys, query_offset, two_sided, max_distance)
    allowed = mask(
        batch,
        queries,
        keys,
        causal,
        query_offset,
        key_mask,
        query_segments,
        key_segments,
    )
    logits = np.where(allowed[:, None], logits, -1e9)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("bhts,bshd->bthd", weights, value)
