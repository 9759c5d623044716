"""A Vision Transformer in float64 NumPy, written from the paper, one image at a time.

Shapes: N positions, d model width, H heads, k width of a head.
"""

import numpy as np


def norm(x, p):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * p["scale"] + p["offset"]


def dense(x, p, name):
    return x @ p[name] + p[f"{name}_bias"]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def attention(x, p, heads):
    query, key, value = (
        np.split(dense(x, p, name), heads, axis=-1)
        for name in ("query", "key", "value")
    )
    outputs = []
    for q, k, v in zip(query, key, value, strict=True):
        logits = q @ k.T / np.sqrt(q.shape[-1])
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        outputs.append(weights / weights.sum(-1, keepdims=True) @ v)
    return dense(np.concatenate(outputs, axis=-1), p, "output")


def features(params, image, config):
    """Returns the representation [d] of an image [H, W, c]."""
    params = {
        module: {name: np.asarray(leaf, np.float64) for name, leaf in leaves.items()}
        for module, leaves in params.items()
    }
    size, embedding = config.patch_size, params["embedding"]
    x = [
        image[top : top + size, left : left + size].reshape(-1) @ embedding["kernel"]
        + embedding["bias"]
        for top in range(0, image.shape[0], size)
        for left in range(0, image.shape[1], size)
    ]
    if config.pooling == "token":
        x = [embedding["token"][0], *x]
    x = np.stack(x) + embedding["positions"]
    for index in range(config.num_layers):
        layer = f"encoder/layer_{index}"
        y = norm(x, params[f"{layer}/self_attention_norm"])
        x = x + attention(y, params[f"{layer}/self_attention"], config.num_heads)
        p = params[f"{layer}/feed_forward"]
        y = norm(x, params[f"{layer}/feed_forward_norm"])
        x = x + dense(gelu(dense(y, p, "wi")), p, "wo")
    x = norm(x, params["encoder/final_norm"])
    return x[0] if config.pooling == "token" else x.mean(0)


def logits(params, image, config):
    """Returns the logits [C] of an image [H, W, c]."""
    head = {name: np.asarray(leaf, np.float64) for name, leaf in params["head"].items()}
    return features(params, image, config) @ head["kernel"] + head["bias"]
