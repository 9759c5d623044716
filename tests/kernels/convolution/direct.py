"""The convolutions in float64 NumPy, tap by tap."""

import numpy as np


def convolve(x, weights, causal):
    """Returns the output; weights are [H, K] or [B, S, H, K]."""
    x, weights = np.asarray(x, np.float64), np.asarray(weights, np.float64)
    output = np.zeros_like(x)
    for s, j, source, per_channel in _terms(x, weights, causal):
        output[:, s] += per_channel(weights)[..., j] * x[:, source]
    return output


def gradients(x, weights, output_grad, causal):
    """Returns the gradients of x and weights."""
    x, weights = np.asarray(x, np.float64), np.asarray(weights, np.float64)
    output_grad = np.asarray(output_grad, np.float64)
    x_grad, weights_grad = np.zeros_like(x), np.zeros_like(weights)
    batch, _, channels = x.shape
    num_heads = weights.shape[-2]
    for s, j, source, per_channel in _terms(x, weights, causal):
        x_grad[:, source] += per_channel(weights)[..., j] * output_grad[:, s]
        product = output_grad[:, s] * x[:, source]
        by_head = product.reshape(batch, num_heads, channels // num_heads).sum(-1)
        if weights.ndim == 2:
            weights_grad[:, j] += by_head.sum(0)
        else:
            weights_grad[:, s, :, j] += by_head
    return x_grad, weights_grad


def _terms(x, weights, causal):
    """Yields position, tap, the position that it reads, and the channels' weights."""
    _, length, channels = x.shape
    num_heads, taps = weights.shape[-2:]
    head = [c * num_heads // channels for c in range(channels)]
    left = taps - 1 if causal else (taps - 1) // 2
    for s in range(length):

        def per_channel(w, s=s):
            return (w if w.ndim == 2 else w[:, s])[..., head, :]

        for j in range(taps):
            if 0 <= s + j - left < length:
                yield s, j, s + j - left, per_channel
