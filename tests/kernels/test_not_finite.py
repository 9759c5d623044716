"""Tests NaN, infinities, huge and tiny numbers in all operations and passes.

The expected values are those of `formulas`, in float64. Where they are not finite, no
result may be finite, so that a run that diverged looks diverged. Masked values must not
affect any result.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import kernels
from clinometer.tests.kernels import formulas

# Longer than a block of queries or a chunk; nothing fills a vector.
B, S, H, D, K, E, C = 2, 70, 2, 6, 5, 3, 14
TINY = float(np.finfo(np.float32).tiny)
VALUES = (np.nan, np.inf, -np.inf, 1e30, -1e30, 9e8, -9e8, -0.0, TINY / 8, -TINY / 8)

rng = np.random.default_rng(0)
CAUSAL = np.broadcast_to(np.tril(np.ones((S, S), bool)), (B, S, S))
ALL = np.ones((B, S, S), bool)
SEEN = rng.random((B, S)) < 0.8
SEEN[:, 0] = True  # No query is without a key.
SEGMENTS = np.sort(rng.integers(0, 3, (B, S)), axis=1).astype(np.int32)
OWN = SEGMENTS[:, :, None] == SEGMENTS[:, None]
SLOT = np.full((B, S), -1, np.int32)
for _g in range(B):
    SLOT[_g, rng.permutation(S)[: E * C - 5]] = rng.permutation(E * C)[: E * C - 5]
COUNTS = np.array([[C, 0, 5], [3, 0, C]], np.int32)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class NonFiniteCase:
    """An operation.

    Attributes:
        call: operands and an implementation's name to the output or outputs.
        operands: float32, by name.
        formula: operands and the outputs' gradients, float64, to outputs and gradients.
        masked: operand to the places whose content may reach nothing: bool that can be
            broadcast to it.
    """

    call: Callable[..., Any]
    operands: dict[str, np.ndarray]
    formula: Callable[..., Sequence[np.ndarray]]
    masked: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


QKV = {"query": draw(B, S, H, D), "key": draw(B, S, H, D), "value": draw(B, S, H, D)}
TABLE = {"table": draw(H, 32)}
PADDING = dict.fromkeys(("key", "value"), ~SEEN[:, :, None, None])


def relative(allowed: np.ndarray, masked: Any = None, **settings: Any) -> NonFiniteCase:
    causal = settings.setdefault("causal", False)
    return NonFiniteCase(
        functools.partial(kernels.relative_attention, **settings),
        QKV | TABLE,
        lambda *x: formulas.relative_attention(*x, causal, allowed),
        masked or {},
    )


def performer(
    allowed: np.ndarray, masked: Any = None, **settings: Any
) -> NonFiniteCase:
    return NonFiniteCase(
        functools.partial(kernels.performer_attention, **settings),
        QKV,
        lambda *x: formulas.performer_attention(*x, allowed),
        masked or {},
    )


def convolution(op: Any, causal: bool, *lead: int) -> NonFiniteCase:
    return NonFiniteCase(
        functools.partial(op, causal=causal),
        {"x": draw(B, S, H * D), "weights": draw(*lead, H, K)},
        lambda *x: formulas.convolution(*x, causal),
    )


def route(logits: jax.Array, implementation: str) -> tuple[jax.Array, ...]:
    found = kernels.switch_route(
        logits, capacity=C, mask=jnp.asarray(SEEN), implementation=implementation
    )
    return found.gate, found.probability, found.z


def rows(x: jax.Array, gate: jax.Array, implementation: str) -> jax.Array:
    y = kernels.switch_dispatch(
        x, SLOT, num_experts=E, capacity=C, implementation=implementation
    )
    return kernels.switch_combine(y, SLOT, gate, implementation=implementation)


CASES = {
    "relative_attention": relative(ALL),
    "relative_attention-causal": relative(CAUSAL, causal=True),
    "relative_attention-key_mask": relative(
        np.broadcast_to(SEEN[:, None], ALL.shape), PADDING, key_mask=SEEN
    ),
    "relative_attention-segments": relative(
        OWN & CAUSAL, causal=True, query_segments=SEGMENTS, key_segments=SEGMENTS
    ),
    "performer_attention": performer(ALL, causal=False),
    "performer_attention-causal": performer(CAUSAL, causal=True),
    "performer_attention-key_mask": performer(
        SEEN[:, None] & ALL, PADDING, causal=False, key_mask=jnp.asarray(SEEN)
    ),
    "performer_attention-causal-key_mask": performer(
        SEEN[:, None] & CAUSAL, PADDING, causal=True, key_mask=jnp.asarray(SEEN)
    ),
    "light_conv": convolution(kernels.light_conv, False),
    "light_conv-causal": convolution(kernels.light_conv, True),
    "dynamic_conv": convolution(kernels.dynamic_conv, False, B, S),
    "dynamic_conv-causal": convolution(kernels.dynamic_conv, True, B, S),
    "switch_route": NonFiniteCase(
        route,
        {"logits": draw(B, S, E)},
        lambda *x: formulas.switch_route(*x, SEEN),
        {"logits": ~SEEN[:, :, None]},
    ),
    "switch_rows": NonFiniteCase(
        rows,
        {"x": draw(B, S, D), "gate": draw(B, S)},
        lambda *x: formulas.switch_rows(*x, SLOT, E, C),
        {"x": SLOT[..., None] < 0, "gate": SLOT < 0},
    ),
    "expert_matmul": NonFiniteCase(
        functools.partial(kernels.expert_matmul, counts=COUNTS, num_tokens=S),
        {"x": draw(B, E, C, D), "w": draw(E, D, 9)},
        lambda *x: formulas.expert_matmul(*x, COUNTS),
        {"x": (np.arange(C) >= COUNTS[..., None])[..., None]},
    ),
    "expert_feed_forward": NonFiniteCase(
        functools.partial(kernels.expert_feed_forward, counts=COUNTS, num_tokens=S),
        {"x": draw(B, E, C, D), "wi": draw(E, D, 9), "wo": draw(E, 9, D)},
        lambda *x: formulas.expert_feed_forward(*x, COUNTS),
        {"x": (np.arange(C) >= COUNTS[..., None])[..., None]},
    ),
    "expert_matmul-one": NonFiniteCase(
        functools.partial(kernels.expert_matmul, counts=COUNTS[:, :1], num_tokens=S),
        {"x": draw(B, 1, C, D), "w": draw(1, D, 9)},
        lambda *x: formulas.expert_matmul(*x, COUNTS[:, :1]),
        {"x": (np.arange(C) >= COUNTS[:, :1, None])[..., None]},
    ),
}


def step(name: str, implementation: str) -> Callable[..., list[jax.Array]]:
    """Returns a function of operands and gradients to outputs and gradients."""
    case = CASES[name]

    def run(operands: Sequence[jax.Array], grads: Any) -> list[jax.Array]:
        call = functools.partial(case.call, implementation=implementation)
        outputs, vjp = jax.vjp(call, *operands)
        grads = jax.tree.unflatten(jax.tree.structure(outputs), grads)
        return [*jax.tree.leaves(outputs), *vjp(grads)]

    return run


@functools.cache
def compiled(name: str, implementation: str) -> Callable[..., list[jax.Array]]:
    return jax.jit(step(name, implementation))


@functools.cache
def gradients_of_outputs(name: str) -> list[np.ndarray]:
    case = CASES[name]
    call = functools.partial(case.call, implementation="reference")
    outputs = jax.eval_shape(call, *case.operands.values())
    return [draw(*x.shape) for x in jax.tree.leaves(outputs)]


def places(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Returns the first, a middle and the last index of an array."""
    return [tuple(int(f * (n - 1)) for n in shape) for f in (0, 0.5, 1)]


def inputs(
    name: str, which: str, place: Any, value: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns operands and outputs' gradients, with `value` at a place in one."""
    arrays = {k: x.copy() for k, x in CASES[name].operands.items()}
    grads = [x.copy() for x in gradients_of_outputs(name)]
    target = arrays[which] if which in arrays else grads[int(which[4:])]
    target[place] = value
    return list(arrays.values()), grads


def truth(name: str, operands: Any, grads: Any) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        exact = [x.astype(np.float64) for x in (*operands, *grads)]
        # XLA takes numbers that are not normal for zero.
        exact = [np.where(np.abs(x) < TINY, 0 * x, x) for x in exact]
        return [np.float32(x) for x in CASES[name].formula(*exact)]


def check(name: str, implementation: str, which: str, place: Any, value: float) -> None:
    operands, grads = inputs(name, which, place, value)
    got = compiled(name, implementation)(operands, grads)
    # Of a gradient, what is left of huge numbers is the rounding of their products.
    largest = [
        max(1.0, float(np.abs(x[np.isfinite(x)]).max())) for x in (*operands, *grads)
    ]
    rounding = 1e-6 * float(np.prod(largest)) if max(largest) > 1e3 else 0.0
    for i, (x, want) in enumerate(zip(got, truth(name, operands, grads), strict=True)):
        message = f"{name} {implementation}: {which}{place} = {value}, result {i}"
        finite = np.isfinite(want)
        np.testing.assert_array_equal(np.isfinite(x), finite, err_msg=message)
        if finite.any():
            bound = 2e-5 * float(np.abs(want[finite]).max())
            error = np.abs(np.asarray(x)[finite] - want[finite]).max()
            assert error <= bound + rounding, message


def operands_of(name: str) -> list[str]:
    grads = [f"grad{i}" for i in range(len(gradients_of_outputs(name)))]
    return [*CASES[name].operands, *grads]


@pytest.mark.parametrize("implementation", ["reference", "cpu"])
@pytest.mark.parametrize("name", CASES)
def test_nan_and_infinity_go_where_the_formula_takes_them(name, implementation):
    shapes = CASES[name].operands | {
        f"grad{i}": x for i, x in enumerate(gradients_of_outputs(name))
    }
    for which in operands_of(name):
        first, middle, _ = places(shapes[which].shape)
        for place, value in ((first, np.nan), (middle, np.nan), (middle, np.inf)):
            check(name, implementation, which, place, value)


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["reference", "cpu"])
@pytest.mark.parametrize("name", CASES)
def test_any_number_anywhere(name, implementation, record_property):
    shapes = CASES[name].operands | {
        f"grad{i}": x for i, x in enumerate(gradients_of_outputs(name))
    }
    count = 0
    for which in operands_of(name):
        for value in VALUES:
            for place in places(shapes[which].shape):
                check(name, implementation, which, place, value)
                count += 1
    record_property("cases", count)


def rounded(arrays: Sequence[np.ndarray]) -> list[Any]:
    """Returns the arrays of heads in bfloat16, and tables as they are."""
    return [jnp.asarray(x, jnp.bfloat16 if x.ndim == 4 else x.dtype) for x in arrays]


RELATIVE = [name for name in CASES if name.startswith("relative_attention")]


@pytest.mark.parametrize("name", RELATIVE)
def test_bfloat16_is_not_finite_where_the_formula_is_not(name):
    for which in operands_of(name):
        shape = (CASES[name].operands | {"grad0": QKV["query"]})[which].shape
        for place in places(shape):
            for value in (np.nan, np.inf, 1e30):
                given = [rounded(x) for x in inputs(name, which, place, value)]
                wants = truth(name, *([np.asarray(x) for x in a] for a in given))
                for i, (x, want) in enumerate(
                    zip(compiled(name, "cpu")(*given), wants, strict=True)
                ):
                    message = f"{name}: {which}{place} = {value}, result {i}"
                    np.testing.assert_array_equal(
                        np.isfinite(x), np.isfinite(want), err_msg=message
                    )


MASKED = [name for name, case in CASES.items() if case.masked]


def check_masked(name: str, run: Callable[..., Any], error: float = 0.0) -> None:
    case = CASES[name]
    grads = gradients_of_outputs(name)
    operands = list(case.operands.values())
    clean = run(operands, grads)
    for which, hidden in case.masked.items():
        place = list(case.operands).index(which)
        for value in (np.nan, np.inf, 1e30):
            dirty = list(operands)
            dirty[place] = np.where(hidden, np.float32(value), operands[place])
            for x, want in zip(run(dirty, grads), clean, strict=True):
                x, want = np.asarray(x, np.float32), np.asarray(want, np.float32)
                np.testing.assert_allclose(
                    x,
                    want,
                    rtol=0,
                    atol=error * abs(want).max(),
                    err_msg=f"{name} {which}",
                )


@pytest.mark.parametrize("implementation", ["reference", "cpu"])
@pytest.mark.parametrize("name", MASKED)
def test_what_is_masked_reaches_nothing(name, implementation):
    check_masked(name, compiled(name, implementation))


@pytest.mark.parametrize("name", [name for name in MASKED if name in RELATIVE])
def test_what_is_masked_reaches_nothing_in_bfloat16(name):
    def run(*given):
        return compiled(name, "cpu")(*(rounded(x) for x in given))

    # Beside huge numbers, weights and score gradients are not rounded.
    check_masked(name, run, error=2**-4)


def interpreted(name: str) -> Callable[..., Any]:
    # Not under jit: interpreted kernels share one memory.
    def run(operands: Any, grads: Any) -> Any:
        with (
            kernels.interpret(pltpu.InterpretParams()),
            kernels.target("TPU v5e"),
            jax.default_matmul_precision("highest"),
        ):
            return jax.block_until_ready(
                step(name, ("tpu", "reference"))(operands, grads)
            )

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_tpu_kernels_are_not_finite_where_the_formula_is_not(name):
    # In the same example it may be more: blocks are products with zeros.
    run = interpreted(name)
    shapes = CASES[name].operands | {
        f"grad{i}": x for i, x in enumerate(gradients_of_outputs(name))
    }
    for which in operands_of(name)[::2]:  # Each takes its seconds.
        place = places(shapes[which].shape)[1]
        operands, grads = inputs(name, which, place, np.nan)
        got = run(operands, grads)
        wants = truth(name, operands, grads)
        for i, (x, want) in enumerate(zip(got, wants, strict=True)):
            x, message = np.asarray(x), f"{name}: {which}, result {i}"
            assert not np.isfinite(x[~np.isfinite(want)]).any(), message
            if want.shape[:2] == (B, S):
                finite = np.isfinite(want).all(axis=tuple(range(1, want.ndim)))
                assert np.isfinite(x[finite]).all(), message


@pytest.mark.slow
@pytest.mark.parametrize("name", MASKED)
def test_what_is_masked_reaches_nothing_on_a_tpu(name):
    check_masked(name, interpreted(name))
