"""Tests relative attention under vmap, remat, scan; choices, costs, derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import choices
from clinometer.kernels import relative_attention
from clinometer.kernels.cost import count_flops
from clinometer.kernels.cpu import native

N, T, H, D = 3, 11, 2, 4


def normal(seed, *shape):
    values = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(values, jnp.float32)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    "axes", [(0, None, None, None), (None, 1, 2, 0), (None, None, None, 1)]
)
def test_vmap_equals_a_loop(batch, axes):
    shapes = [(batch, T, H, D)] * 3 + [(H, 32)]
    operands = [
        normal(i, *shape)
        if axis is None
        else normal(i, *shape[:axis], N, *shape[axis:])
        for i, (shape, axis) in enumerate(zip(shapes, axes, strict=True))
    ]

    def gradients(*operands):
        def loss(*operands):
            output = relative_attention(*operands, causal=True, implementation="cpu")
            return jnp.sum(output**2), output

        return jax.grad(loss, (0, 1, 2, 3), has_aux=True)(*operands)

    got = jax.jit(jax.vmap(gradients, in_axes=axes))(*operands)
    for i in range(N):
        picked = [
            x if axis is None else jnp.take(x, i, axis=axis)
            for x, axis in zip(operands, axes, strict=True)
        ]
        want = jax.jit(gradients)(*picked)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-5)


def test_remat_in_a_scan_over_layers():
    x, table = normal(0, 2, T, H, D), normal(1, H, 32)
    scales = jnp.asarray([0.5, 1.0, 2.0])

    def layer(x, scale):
        return x + relative_attention(scale * x, x, x, table, implementation="cpu")

    def scanned(x, scales):
        body = jax.checkpoint(lambda x, scale: (layer(x, scale), None))
        return jnp.sum(jax.lax.scan(body, x, scales)[0] ** 2)

    def looped(x, scales):
        for scale in scales:
            x = layer(x, scale)
        return jnp.sum(x**2)

    got = jax.jit(jax.grad(scanned, (0, 1)))(x, scales)
    want = jax.jit(jax.grad(looped, (0, 1)))(x, scales)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_second_derivatives_are_a_clear_error():
    x = jnp.ones((1, 3, 1, 2))
    first = jax.grad(lambda q: jnp.sum(relative_attention(q, x, x) ** 2))
    with pytest.raises(NotImplementedError, match="relative_attention: only first"):
        jax.make_jaxpr(jax.grad(lambda q: jnp.sum(first(q))))(x)


def test_choices_and_declared_flops():
    q = jax.ShapeDtypeStruct((2, 5, 3, 4), jnp.float32)
    k = jax.ShapeDtypeStruct((2, 96, 3, 4), jnp.float32)

    def loss(q, k, v):
        return relative_attention(q, k, v).sum()

    found = choices(jax.grad(loss, (0, 1, 2)), q, k, k, platform="cpu")
    assert [(c.pass_name, c.implementation) for c in found] == [
        ("forward", "cpu"),
        ("backward", "cpu"),
    ]
    elsewhere = choices(loss, q, k, k, platform="cuda")
    assert [c.implementation for c in elsewhere] == ["reference"]
    product = 2 * 2 * 3 * 5 * 96 * 4  # one of [T, S] and D
    assert count_flops(loss, q, k, k) == 2 * product
    assert count_flops(jax.grad(loss, (0, 1, 2)), q, k, k) == 6 * product
    for platform in ("cpu", "cuda"):
        executed = count_flops(jax.grad(loss, (0, 1, 2)), q, k, k, platform=platform)
        # The logits again, and outside C++ the product of output and its gradient.
        extra = 2 * 2 * 3 * 5 * 4 if platform == "cuda" else 0
        assert executed == 7 * product + extra


@pytest.mark.parametrize(
    ("isa", "dtype", "block"),
    [
        ("amx", jnp.bfloat16, 64),
        ("amx", jnp.float32, 48),
        ("avx512_bf16", jnp.bfloat16, 48),
        ("avx2", jnp.bfloat16, 48),
    ],
)
def test_causal_kernels_skip_keys_by_blocks_of_queries(monkeypatch, isa, dtype, block):
    monkeypatch.setattr(native, "active_isa", lambda: isa)
    x = jax.ShapeDtypeStruct((1, 96, 1, 4), dtype)

    def attend(q, k, v):
        return relative_attention(q, k, v, causal=True)

    # Two blocks: of the first, and of all the other queries.
    scores = block * block + (96 - block) * 96
    executed = count_flops(attend, x, x, x, platform="cpu")
    assert executed == 2 * 2 * scores * 4


def test_the_handler_refuses_wrong_shapes():
    x = jnp.ones((1, 4, 2, 3))
    segments, offset = jnp.zeros((1, 4), jnp.int32), jnp.zeros(1, jnp.int32)
    shape = jax.ShapeDtypeStruct
    results = (shape(x.shape, jnp.float32), shape((1, 2, 4), jnp.float32))

    def run(key=x, bias=None):
        bias = jnp.zeros((1, 2, 7)) if bias is None else bias
        operands = (x, key, x, bias, segments, segments, offset)
        settings = {"causal": True, "masked": False}
        return jax.block_until_ready(
            native.call("relative_attention_forward", results, *operands, **settings)
        )

    run()
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"key must be \[1, 4, 2, 3\]"):
        run(key=jnp.ones((2, 4, 2, 3)))
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"bias must be \[1, 2, 7\]"):
        run(bias=jnp.zeros((1, 2, 8)))
    with pytest.raises(jax.errors.JaxRuntimeError, match="rank"):
        run(bias=jnp.zeros((2, 7)))


def test_a_short_step_of_decoding_takes_the_reference():
    table = jnp.ones((8, 32))

    def taken(num_queries, num_keys, table):
        q = jax.ShapeDtypeStruct((1, num_queries, 8, 64), jnp.float32)
        k = jax.ShapeDtypeStruct((1, num_keys, 8, 64), jnp.float32)
        step = functools.partial(relative_attention, bias_table=table)
        (found,) = choices(step, q, k, k, platform="cpu")
        return found.implementation

    assert taken(1, 64, table) == "reference"
    assert taken(1, 64, None) == taken(1, 65, table) == taken(2, 64, table) == "cpu"
