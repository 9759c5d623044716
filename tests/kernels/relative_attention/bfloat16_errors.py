"""Relative attention of bfloat16 operands beside float64; run in a child process."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.kernels import relative_attention
from clinometer.tests.kernels.relative_attention import numpy_attention

MAIN = (
    "from clinometer.tests.kernels.relative_attention import bfloat16_errors\n"
    "bfloat16_errors.main()"
)

# Queries, keys, width, settings: blocks, pairs and tiles that are full, or are not.
SHAPES = [
    (1, 1, 1, ""),
    (3, 3, 8, "causal bias"),
    (1, 193, 64, "causal"),
    (1, 193, 64, "causal bias offset"),
    (47, 47, 40, "segments bias"),
    (49, 49, 64, "causal segments bias"),
    (65, 200, 17, "causal bias offset"),
    (114, 114, 64, "causal bias"),
    (114, 512, 64, ""),
    (193, 193, 8, "causal bias"),
    (512, 512, 1, "bias"),
    (512, 512, 40, "causal segments bias"),
]


def case(queries, keys, width, words):
    """Returns operands, output's gradient, and settings, as the API takes them."""
    rng = np.random.default_rng(queries + keys + width)
    lengths = (queries, keys, keys, queries)
    q, k, v, grad = (rng.normal(size=(2, n, 2, width)) for n in lengths)
    table = jnp.asarray(rng.normal(size=(2, 32)), jnp.float32)
    low = [jnp.asarray(x, jnp.bfloat16) for x in (q * width**-0.5, k, v, grad)]
    settings = {"causal": "causal" in words}
    if "offset" in words:
        settings["query_offset"] = keys - queries
    if "segments" in words:
        segments = np.sort(rng.integers(0, 4, (2, queries)), axis=1)
        settings |= {"query_segments": segments, "key_segments": segments}
    return *low, table if "bias" in words else None, settings


def truth(q, k, v, grad, table, settings):
    """Returns output and gradients in float64, and their sums of absolute terms."""
    q, k, v, grad = (
        np.swapaxes(np.asarray(x, np.float64), 1, 2) for x in (q, k, v, grad)
    )
    offset, causal = settings.get("query_offset", 0), settings["causal"]
    segments = settings.get("query_segments")
    shape = (q.shape[0], q.shape[2], k.shape[2])
    allowed = numpy_attention.mask(*shape, causal, offset, None, segments, segments)
    logits = q @ turned(k)
    if table is not None:
        logits += numpy_attention.bias(table, *shape[1:], offset, not causal)
    logits = np.where(allowed[:, None], logits, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    output = weights @ v
    mean = (output * grad).sum(-1, keepdims=True)
    logits_grad = weights * (grad @ turned(v) - mean)
    # The mean is that of the rounded output.
    terms = abs(logits_grad) + weights * abs(output * grad).sum(-1, keepdims=True)
    results = [output, logits_grad @ k, turned(logits_grad) @ q, turned(weights) @ grad]
    sums = [weights @ abs(v), terms @ abs(k), turned(terms) @ abs(q)]
    sums.append(turned(weights) @ abs(grad))
    return [[np.swapaxes(x, 1, 2) for x in found] for found in (results, sums)]


def turned(x):
    return np.swapaxes(x, -1, -2)


def main():
    """Prints, of each shape, the largest errors over sums of terms, and digests."""
    from clinometer.kernels.cpu import native

    printed = {"isa": native.active_isa(), "errors": {}, "digests": {}}
    for shape in SHAPES:
        *operands, grad, table, settings = case(*shape)

        def step(q, k, v, grad, table=table, settings=settings):
            def call(q, k, v):
                return relative_attention(
                    q, k, v, table, **settings, implementation="cpu"
                )

            output, vjp = jax.vjp(call, q, k, v)
            return output, *vjp(grad)

        got = [np.asarray(x) for x in jax.jit(step)(*operands, grad)]
        name = " ".join(map(str, shape))
        printed["digests"][name] = hashlib.sha256(
            b"".join(x.tobytes() for x in got)
        ).hexdigest()
        printed["errors"][name] = [
            float((abs(x.astype(np.float64) - want) / (total + 1e-30)).max())
            for x, want, total in zip(
                got, *truth(*operands, grad, table, settings), strict=True
            )
        ]
    print(json.dumps(printed))
