"""The formulas of all kernels in float64 NumPy, pair by pair, also for NaN.

Masked values are excluded from sums rather than multiplied by 0, so NaN and infinities
only reach the results that depend on them. Each function returns the output and the
gradients of its float operands.
"""

import numpy as np

from clinometer.tests.kernels.relative_attention import numpy_attention


def relative_attention(query, key, value, table, grad, causal, allowed):
    """Takes [B, T, H, D] operands and a table; `allowed` is bool [B, T, S]."""
    q, k, v, g = (np.swapaxes(x, 1, 2) for x in (query, key, value, grad))
    num_queries, num_keys = q.shape[2], k.shape[2]
    bucket = np.array(
        [
            [numpy_attention.bucket(s - t, not causal) for s in range(num_keys)]
            for t in range(num_queries)
        ]
    )
    allowed = allowed[:, None]
    logits = _products(q, k) + table[:, bucket]
    logits = np.where(allowed, logits, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights = np.where(allowed, weights, 0)
    weights /= weights.sum(-1, keepdims=True)
    output = _sums(weights, v, allowed)
    mean = (output * g).sum(-1)[..., None]
    logits_grad = np.where(allowed, weights * (_products(g, v) - mean), 0)
    table_grad = np.zeros_like(table)
    for b in np.unique(bucket):
        table_grad[:, b] = logits_grad[..., bucket == b].sum((0, 2))
    return _heads_last(
        output,
        _sums(logits_grad, k, allowed),
        _sums(_turned(logits_grad), q, _turned(allowed)),
        _sums(_turned(weights), g, _turned(allowed)),
    ) + [table_grad]


def performer_attention(query, key, value, grad, allowed, epsilon=1e-3):
    """Takes [B, T, H, D] operands; `allowed` is bool [B, T, S]."""
    q, k, v, g = (np.swapaxes(x, 1, 2) for x in (query, key, value, grad))
    epsilon = np.float64(np.float32(epsilon))
    queries, keys = np.maximum(q, 0) + epsilon, np.maximum(k, 0) + epsilon
    allowed = allowed[:, None]
    weights = np.where(allowed, _products(queries, keys), 0)
    total = weights.sum(-1)[..., None]
    output = _sums(weights, v, allowed) / total
    of_sum = g / total
    of_total = -(g * output).sum(-1)[..., None] / total
    weights_grad = np.where(allowed, _products(of_sum, v) + of_total, 0)
    return _heads_last(
        output,
        np.where(q <= 0, 0, _sums(weights_grad, keys, allowed)),
        np.where(k <= 0, 0, _sums(_turned(weights_grad), queries, _turned(allowed))),
        _sums(_turned(weights), of_sum, _turned(allowed)),
    )


def convolution(x, weights, grad, causal):
    """Of x [B, S, d] and weights [H, K] or [B, S, H, K].

    Positions outside of the sequence are 0, in the gradient too, where only a filter
    that all positions share weighs them.
    """
    num_heads, taps = weights.shape[-2:]
    batch, length, channels = x.shape
    left = taps - 1 if causal else (taps - 1) // 2
    outside = ((0, 0), (left, taps - 1 - left), (0, 0))
    mirrored = ((0, 0), (taps - 1 - left, left), (0, 0))
    padded, padded_grad = np.pad(x, outside), np.pad(grad, mirrored)
    if weights.ndim == 2:
        every = np.broadcast_to(weights, (batch, length + taps - 1, num_heads, taps))
    else:
        every = np.pad(weights, (*mirrored, (0, 0)))
    every = np.repeat(every, channels // num_heads, axis=2)
    here = every[:, taps - 1 - left : taps - 1 - left + length]
    output, x_grad = np.zeros_like(x), np.zeros_like(x)
    weights_grad = np.zeros((batch, length, num_heads, taps))
    for j in range(taps):
        window = padded[:, j : j + length]
        output += here[..., j] * window
        taken = slice(taps - 1 - j, taps - 1 - j + length)
        x_grad += every[:, taken, :, j] * padded_grad[:, taken]
        product = (grad * window).reshape(batch, length, num_heads, -1)
        weights_grad[..., j] = product.sum(-1)
    if weights.ndim == 2:
        weights_grad = weights_grad.sum((0, 1))
    return [output, x_grad, weights_grad]


def expert_matmul(x, w, grad, counts):
    """Takes x [G, E, C, d] and w [E, d, f]; rows from the counts on are excluded."""
    filled = (np.arange(x.shape[2]) < counts[..., None])[..., None]
    x, grad = np.where(filled, x, 0), np.where(filled, grad, 0)

    def of_filled(products):
        return np.where(filled, products.sum(-1), 0)

    rows = x[..., :, None] * grad[..., None, :]
    return [
        of_filled(x[..., None, :] * np.swapaxes(w, 1, 2)[None, :, None]),
        of_filled(grad[..., None, :] * w[None, :, None]),
        np.where(filled[..., None], rows, 0).sum((0, 2)),
    ]


def switch_rows(x, gate, grad, slot, num_experts, capacity):
    """Moves rows x [G, N, d] to slots and back, times the gate."""
    del num_experts, capacity
    held = (slot >= 0)[..., None]
    return [
        np.where(held, x * gate[..., None], 0),
        np.where(held, grad * gate[..., None], 0),
        np.where(held, x * grad, 0).sum(-1),
    ]


def switch_route(logits, gate_grad, probability_grad, z_grad, mask):
    """Returns gate, probability, z, and the gradient of logits [G, N, E]."""
    most = logits.max(-1, keepdims=True)
    weights = np.exp(logits - most)
    total = weights.sum(-1, keepdims=True)
    p, gate = weights / total, np.where(mask, 1 / total[..., 0], 0)
    share = (1 / np.maximum(mask.sum(1), 1))[:, None]
    lse = (most + np.log(total))[..., 0]
    probability = np.where(mask[..., None], p, 0).sum(1) * share
    z = np.where(mask, lse**2, 0).sum(1) * share[:, 0]
    probability_grad = (probability_grad * share)[:, None]
    gate_part = gate_grad * gate
    shared = 2 * (z_grad[:, None] * share) * lse - gate_part
    shared = shared - (p * probability_grad).sum(-1)
    chosen = np.arange(logits.shape[2]) == np.argmax(logits, -1)[..., None]
    grad = p * (probability_grad + shared[..., None])
    grad += np.where(chosen, gate_part[..., None], 0)
    return [gate, probability, z, np.where(mask[..., None], grad, 0)]


def _products(a, b):
    return (a[..., :, None, :] * b[..., None, :, :]).sum(-1)


def _sums(weights, rows, allowed):
    terms = weights[..., None] * rows[..., None, :, :]
    return np.where(allowed[..., None], terms, 0).sum(-2)


def _turned(x):
    return np.swapaxes(x, -1, -2)


def _heads_last(*arrays):
    return [np.swapaxes(x, 1, 2) for x in arrays]


def expert_feed_forward(x, wi, wo, grad, counts):
    """Takes x [G, E, C, d], wi [E, d, f], wo [E, f, d]; see `expert_matmul`."""
    hidden = np.zeros((*x.shape[:3], wi.shape[2]))
    hidden = np.maximum(expert_matmul(x, wi, hidden, counts)[0], 0)
    output, hidden_grad, wo_grad = expert_matmul(hidden, wo, grad, counts)
    hidden_grad = np.where(hidden > 0, hidden_grad, 0)
    _, x_grad, wi_grad = expert_matmul(x, wi, hidden_grad, counts)
    return [output, x_grad, wi_grad, wo_grad]
