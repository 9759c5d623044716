"""The Switch operations in float64 NumPy, token by token."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

IMPLEMENTATIONS = ("reference", "cpu")
MOSTLY_CPU = (pytest.param("reference", marks=pytest.mark.slow), "cpu")


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def f32(x: Any) -> Any:
    return jnp.asarray(x, jnp.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def route(logits: Any, capacity: int, mask: Any = None) -> dict[str, np.ndarray]:
    logits = np.asarray(logits, np.float64)
    groups, num_tokens, num_experts = logits.shape
    mask = np.ones((groups, num_tokens), bool) if mask is None else np.asarray(mask)
    slot = np.full((groups, num_tokens), -1)
    gate = np.zeros((groups, num_tokens))
    index = np.zeros((groups, num_tokens), int)
    chosen = np.zeros((groups, num_experts))
    probability = np.zeros((groups, num_experts))
    z = np.zeros(groups)
    for g in range(groups):
        for n in range(num_tokens):
            p = softmax(logits[g, n])
            e = index[g, n] = int(np.argmax(logits[g, n]))
            if not mask[g, n]:
                continue
            gate[g, n] = p[e]
            if chosen[g, e] < capacity:
                slot[g, n] = e * capacity + chosen[g, e]
            chosen[g, e] += 1
            probability[g] += p
            z[g] += np.log(np.exp(logits[g, n]).sum()) ** 2
    tokens = np.maximum(mask.sum(1), 1)
    return {
        "expert_index": index,
        "slot": slot,
        "gate": gate,
        "counts": np.minimum(chosen, capacity),
        "load": chosen / tokens[:, None],
        "probability": probability / tokens[:, None],
        "z": z / tokens,
    }


def dispatch(x: Any, slot: Any, num_experts: int, capacity: int) -> np.ndarray:
    x = np.asarray(x, np.float64)
    y = np.zeros((x.shape[0], num_experts * capacity, x.shape[2]))
    for g, n in zip(*np.nonzero(np.asarray(slot) >= 0), strict=True):
        y[g, slot[g, n]] = x[g, n]
    return y.reshape(x.shape[0], num_experts, capacity, -1)


def combine(y: Any, slot: Any, gate: Any) -> np.ndarray:
    y = np.asarray(y, np.float64)
    rows = y.reshape(y.shape[0], -1, y.shape[3])
    output = np.zeros((*slot.shape, y.shape[3]))
    for g, n in zip(*np.nonzero(np.asarray(slot) >= 0), strict=True):
        output[g, n] = gate[g, n] * rows[g, slot[g, n]]
    return output


def filled(x: Any, counts: Any) -> np.ndarray:
    """Returns x [G, E, C, _] in float64, with zeros from the counts on."""
    held = np.arange(x.shape[2]) < np.asarray(counts)[..., None]
    return np.where(held[..., None], np.asarray(x, np.float64), 0)


def random_slots(
    seed: int, groups: int, num_tokens: int, num_slots: int, dropped: float = 0.3
) -> np.ndarray:
    """Returns unique slots in random order, and -1 for some tokens."""
    rng = np.random.default_rng(seed)
    slot = np.full((groups, num_tokens), -1, np.int32)
    for g in range(groups):
        tokens = np.flatnonzero(rng.random(num_tokens) >= dropped)[:num_slots]
        slot[g, tokens] = rng.permutation(num_slots)[: len(tokens)]
    return slot


def feed_forward_operands(shape: tuple[int, ...], dtype: Any) -> tuple[Any, ...]:
    """Returns x, wi, wo, counts and y's gradient; G, E, C, d and f are the shape.

    One expert is full, and another is empty, unless there is one of all groups.
    """
    groups, num_experts, capacity, width, hidden = shape
    rows = (groups, num_experts, capacity, width)
    counts = np.random.default_rng(2).integers(0, capacity + 1, rows[:2])
    counts.flat[0], counts.flat[-1] = capacity, 0
    shapes = [rows, (num_experts, width, hidden), (num_experts, hidden, width), rows]
    x, wi, wo, y_grad = (
        jnp.asarray(normal(i, *s) / s[-2] ** (0.5 if i in (1, 2) else 0), dtype)
        for i, s in enumerate(shapes)
    )
    return x, wi, wo, counts.astype(np.int32), y_grad


def feed_forward(
    x: Any, wi: Any, wo: Any, counts: Any, y_grad: Any, factor: Any = 1.0
) -> list[np.ndarray]:
    """Returns y and the gradients of x, wi and wo; dropout multiplies by `factor`."""
    x, y_grad = filled(x, counts), filled(y_grad, counts)
    wi, wo = np.asarray(wi, np.float64), np.asarray(wo, np.float64)
    before = np.einsum("gecd,edf->gecf", x, wi)
    hidden = factor * np.maximum(before, 0)
    hidden_grad = factor * np.einsum("gecd,efd->gecf", y_grad, wo)
    hidden_grad = np.where(before > 0, hidden_grad, 0)
    return [
        np.einsum("gecf,efd->gecd", hidden, wo),
        np.einsum("gecf,edf->gecd", hidden_grad, wi),
        np.einsum("gecd,gecf->edf", x, hidden_grad),
        np.einsum("gecf,gecd->efd", hidden, y_grad),
    ]


def compare_feed_forward(found: Any, operands: Any, factor: Any = 1.0) -> None:
    """Checks y and the gradients: values, dtypes, and zeros in empty slots.

    Args:
        found: y and the gradients of x, wi and wo.
        operands: those of `feed_forward_operands`.
        factor: what dropout multiplies the hidden rows by.
    """
    x, _, wo, counts, _ = operands
    depth = max(x.shape[3], wo.shape[1], x.shape[0] * x.shape[2])
    tolerance = {jnp.float32: 2e-6, jnp.bfloat16: 1.5e-2}[x.dtype.type] * depth**0.5
    for got, want in zip(found, feed_forward(*operands, factor), strict=True):
        assert got.dtype == x.dtype
        got = np.asarray(got, np.float64)
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    empty = np.arange(x.shape[2]) >= counts[..., None]
    for rows in found[:2]:
        assert not np.any(np.asarray(rows, np.float32)[empty])
