"""Dense Performer attention in float64 NumPy."""

import numpy as np


def draw(seed, batch, num_queries, num_keys, num_heads, groups, width):
    """Returns query, key, value and an output's gradient, float32."""
    rng = np.random.default_rng(seed)
    shapes = (
        (batch, num_queries, num_heads, width),
        (batch, num_keys, groups, width),
        (batch, num_keys, groups, width),
        (batch, num_queries, num_heads, width),
    )
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)


def weights(query, key, causal, key_mask, epsilon):
    """Returns [B, H, T, S] weights before normalisation, and both features."""
    query, key = np.asarray(query, np.float64), np.asarray(key, np.float64)
    key = np.repeat(key, query.shape[2] // key.shape[2], axis=2)
    queries, keys = np.maximum(query, 0) + epsilon, np.maximum(key, 0) + epsilon
    if key_mask is not None:
        keys = keys * np.asarray(key_mask)[:, :, None, None]
    products = np.einsum("bthd,bshd->bhts", queries, keys)
    return (np.tril(products) if causal else products), queries, keys


def attend(query, key, value, causal=False, key_mask=None, epsilon=1e-3):
    """Returns the output, float64; 0 for a query without a key."""
    products, _, _ = weights(query, key, causal, key_mask, epsilon)
    value = np.asarray(value, np.float64)
    value = np.repeat(value, query.shape[2] // value.shape[2], axis=2)
    total = products.sum(axis=-1, keepdims=True)
    shares = np.divide(products, total, out=np.zeros_like(products), where=total != 0)
    return np.einsum("bhts,bshd->bthd", shares, value)


def gradients(query, key, value, gradient, causal=False, key_mask=None, epsilon=1e-3):
    """Returns the gradients of sum(output * gradient) by query, key and value."""
    products, queries, keys = weights(query, key, causal, key_mask, epsilon)
    repeats = query.shape[2] // key.shape[2]
    values = np.repeat(np.asarray(value, np.float64), repeats, axis=2)
    gradient = np.asarray(gradient, np.float64)
    total = products.sum(axis=-1, keepdims=True)
    some = np.where(total == 0, 1.0, total)
    shares = products / some
    shares_grad = np.einsum("bthd,bshd->bhts", gradient, values)
    mean = np.sum(shares * shares_grad, axis=-1, keepdims=True)
    products_grad = np.where(total == 0, 0.0, (shares_grad - mean) / some)
    if causal:
        products_grad = np.tril(products_grad)
    query_grad = np.einsum("bhts,bshd->bthd", products_grad, keys)
    key_grad = np.einsum("bhts,bthd->bshd", products_grad, queries)
    if key_mask is not None:
        key_grad = key_grad * np.asarray(key_mask)[:, :, None, None]
    value_grad = np.einsum("bhts,bthd->bshd", shares, gradient)

    def summed(x):
        return x.reshape(*x.shape[:2], -1, repeats, x.shape[3]).sum(axis=3)

    query, key = np.asarray(query), np.asarray(key)
    return (
        query_grad * (query > 0),
        summed(key_grad) * (key > 0),
        summed(value_grad),
    )
