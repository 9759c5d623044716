"""A small call of every operation, for tests of all of them."""

from collections.abc import Callable
import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clinometer import kernels

# Odd sizes, that fill no block: batch, length, heads, width, taps, experts.
B, S, H, D, K, E = 4, 67, 2, 24, 9, 3


def calls(implementation: str) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    """Returns functions and their float operands, by operation; the batch leads."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    qkv = [normal(B, S, H, D) for _ in range(3)]
    x = normal(B, S, H * D)
    light = jax.nn.softmax(normal(H, K))
    dynamic = jax.nn.softmax(normal(B, S, H, K))
    mask = jnp.asarray(rng.random((B, S)) < 0.8)

    def switch(logits, x, wi, wo):
        capacity = 20
        route = kernels.switch_route(
            logits, capacity=capacity, implementation=implementation
        )
        rows = kernels.switch_dispatch(
            x,
            route.slot,
            num_experts=E,
            capacity=capacity,
            implementation=implementation,
        )
        y = kernels.expert_feed_forward(
            rows,
            wi,
            wo,
            route.counts,
            num_tokens=S,
            implementation=implementation,
        )
        return kernels.switch_combine(
            y, route.slot, route.gate, implementation=implementation
        )

    def relative(causal):
        return lambda q, k, v, table: kernels.relative_attention(
            q, k, v, table, causal=causal, implementation=implementation
        )

    def performer(causal):
        return lambda q, k, v: kernels.performer_attention(
            q, k, v, causal=causal, key_mask=mask, implementation=implementation
        )

    return {
        "relative_attention": (relative(False), [*qkv, normal(H, 32)]),
        "relative_attention_causal": (relative(True), [*qkv, normal(H, 32)]),
        "performer_attention": (performer(False), qkv),
        "performer_attention_causal": (performer(True), qkv),
        "light_conv": (
            lambda x, w: kernels.light_conv(
                x, w, causal=False, implementation=implementation
            ),
            [x, light],
        ),
        "dynamic_conv": (
            lambda x, w: kernels.dynamic_conv(
                x, w, causal=True, implementation=implementation
            ),
            [x, dynamic],
        ),
        "switch": (
            switch,
            [normal(B, S, E), x, normal(E, H * D, 40) / 8, normal(E, 40, H * D) / 8],
        ),
    }


def run(implementation: str) -> dict[str, list[np.ndarray]]:
    """Returns output and gradients of every operation."""
    results = {}
    for name, (function, operands) in calls(implementation).items():

        def step(*operands, function=function):
            output, vjp = jax.vjp(function, *operands)
            return output, *vjp(jnp.cos(output))

        results[name] = [np.asarray(x) for x in jax.jit(step)(*operands)]
    return results


def main(with_errors: bool = True) -> None:
    """Prints a JSON object: the instruction set, and a digest of every result.

    Args:
        with_errors: also print the largest errors against the reference.
    """
    from clinometer.kernels.cpu import native

    results = run("cpu")
    printed = {
        "isa": native.active_isa(),
        "digests": {
            name: [hashlib.sha256(x.tobytes()).hexdigest() for x in arrays]
            for name, arrays in results.items()
        },
    }
    if with_errors:
        reference = run("reference")
        printed["errors"] = {
            name: max(
                float(np.abs(a - b).max() / (1 + np.abs(b).max()))
                for a, b in zip(arrays, reference[name], strict=True)
            )
            for name, arrays in results.items()
        }
    print(json.dumps(printed))
