"""Tests the convolutions' invariants, declarations and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import choices
from clinometer.kernels import dynamic_conv
from clinometer.kernels import light_conv
from clinometer.kernels.convolution import dynamic
from clinometer.kernels.convolution import light
from clinometer.kernels.cpu import native

MOSTLY_CPU = (pytest.param("reference", marks=pytest.mark.slow), "cpu")
B, S, D, H, K = 2, 40, 32, 4, 7
OPS = {"light": light_conv, "dynamic": dynamic_conv}


def weights_of(op, num_heads=H, taps=K, batch=B, length=S):
    rng = np.random.default_rng(2)
    lead = () if op == "light" else (batch, length)
    return jnp.asarray(rng.dirichlet(np.ones(taps), (*lead, num_heads)), jnp.float32)


def x_of(shape=(B, S, D), seed=3):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("implementation", MOSTLY_CPU)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("causal", [True, False])
def test_a_constant_stays_and_is_weaker_at_the_ends(op, causal, implementation):
    weights = weights_of(op)
    x = jnp.full((B, S, D), 3.0)
    output = jax.jit(
        lambda x, w: OPS[op](x, w, causal=causal, implementation=implementation)
    )(x, weights)
    left = K - 1 if causal else (K - 1) // 2
    inner = output[:, left : S - (K - 1 - left)]
    np.testing.assert_allclose(inner, 3.0, rtol=1e-6)
    # Position 0 misses the mass of the first `left` taps, by head.
    first = weights if op == "light" else weights[:, 0]
    mass = jnp.repeat(first[..., left:].sum(-1), D // H, axis=-1)
    want = jnp.broadcast_to(3.0 * mass, (B, D))
    np.testing.assert_allclose(output[:, 0], want, rtol=1e-5)


@pytest.mark.parametrize("implementation", MOSTLY_CPU)
@pytest.mark.parametrize("causal", [True, False])
def test_the_same_weights_everywhere_are_a_light_convolution(causal, implementation):
    weights = weights_of("light")
    everywhere = jnp.broadcast_to(weights, (B, S, H, K))
    settings = {"causal": causal, "implementation": implementation}
    x = x_of()
    one = jax.jit(lambda x, w: light_conv(x, w, **settings))(x, weights)
    other = jax.jit(lambda x, w: dynamic_conv(x, w, **settings))(x, everywhere)
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("implementation", MOSTLY_CPU)
def test_light_convolution_shifts_with_its_input(implementation):
    run = jax.jit(
        lambda x: light_conv(
            x, weights_of("light"), causal=True, implementation=implementation
        )
    )
    x = x_of()
    shifted = jnp.roll(x, 5, axis=1)
    np.testing.assert_allclose(
        run(shifted)[:, 5 + K - 1 :], run(x)[:, K - 1 : S - 5], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("implementation", MOSTLY_CPU)
@pytest.mark.parametrize("op", OPS)
def test_zero_weights_give_exact_zeros(op, implementation):
    weights = jnp.zeros_like(weights_of(op))
    settings = {"causal": True, "implementation": implementation}
    output, vjp = jax.vjp(lambda x: OPS[op](x, weights, **settings), x_of())
    np.testing.assert_array_equal(output, 0.0)
    np.testing.assert_array_equal(vjp(output + 1.0)[0], 0.0)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"x": (S, D)},
            r"x: must be \[batch, length, channels\], got",
        ),
        ({"x": (B, 0, D)}, "x: has an empty axis"),
        ({"rank": 5}, r"weights: must be \[.*heads, taps\], got shape"),
        ({"heads": 5}, "weights has 5 heads, which must divide the 32 channels"),
        ({"taps": 64}, "has 64 taps; accepted are 1 to 63"),
        ({"taps": 4, "causal": False}, "has 4 taps; accepted is an odd number"),
        ({"mask": jnp.ones((B, S - 1), bool)}, r"mask: must be bool \(2, 40\)"),
        ({"mask": jnp.ones((B, S))}, r"mask: must be bool \(2, 40\), got float32"),
        ({"dtype": jnp.float16}, "x: must be float32 or bfloat16, got float16"),
        ({"weights_dtype": jnp.int32}, "weights: must be float32 or bfloat16"),
        ({"implementation": "gpu"}, "implementation: got 'gpu'; accepted are auto"),
        ({"implementation": ()}, r"implementation: got \(\)"),
    ],
)
def test_bad_arguments_are_named(op, change, message):
    x = jnp.zeros(change.get("x", (B, S, D)), change.get("dtype", jnp.float32))
    weights = weights_of(op, change.get("heads", H), change.get("taps", K))
    weights = weights.astype(change.get("weights_dtype", jnp.float32))
    if "rank" in change:
        weights = weights.reshape(
            (1,) * (change["rank"] - weights.ndim) + weights.shape
        )
    with pytest.raises(
        ValueError, match=f"{op}_conv: .*{message}|{op}_conv: {message}"
    ):
        OPS[op](
            x,
            weights,
            causal=change.get("causal", True),
            mask=change.get("mask"),
            implementation=change.get("implementation", "auto"),
        )


def test_dynamic_weights_are_of_every_position():
    with pytest.raises(ValueError, match=r"x's batch and length \(2, 40\), got"):
        dynamic_conv(x_of(), weights_of("dynamic", length=S - 1), causal=True)


@pytest.mark.parametrize(
    ("handler", "operands", "results", "causal", "message"),
    [
        ("light_conv_forward", [(B, S, D), (1, H, K)], [(B, S, D + 1)], True, "output"),
        ("light_conv_forward", [(3, S, D), (1, H, K)], [(B, S, D)], True, "x"),
        ("light_conv_forward", [(B, S, D), (3, H, K)], [(B, S, D)], True, "weights"),
        ("light_conv_forward", [(B, S, D), (1, 5, K)], [(B, S, D)], True, "heads"),
        ("light_conv_forward", [(B, S, D), (1, H, 4)], [(B, S, D)], False, "odd"),
        ("light_conv_forward", [(B, S), (1, H, K)], [(B, S, D)], True, "[Rr]ank"),
        (
            "light_conv_backward",
            [(B, S, D), (1, H, K), (B, S, D)],
            [(B, S, D), (1, H, K)],
            True,
            "weights_grad",
        ),
        (
            "dynamic_conv_forward",
            [(B, S, D), (B, S - 1, H, K)],
            [(B, S, D)],
            True,
            "weights",
        ),
        (
            "dynamic_conv_backward",
            [(B, S, D), (B, S, H, K), (B, S, D - 1)],
            [(B, S, D), (B, S, H, K)],
            True,
            "output_grad",
        ),
    ],
)
def test_handlers_check_their_shapes(handler, operands, results, causal, message):
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in results]
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        jax.block_until_ready(
            native.call(handler, results, *map(jnp.zeros, operands), causal=causal)
        )


@pytest.mark.parametrize("op", OPS)
def test_choices_tell_the_implementation(op):
    def step(x, w, implementation):
        return jax.grad(
            lambda x: OPS[op](x, w, causal=True, implementation=implementation).sum()
        )(x)

    arguments = (x_of(), weights_of(op))
    for implementation, platform, want in [
        ("auto", "cpu", "cpu"),
        ("auto", "tpu", "tpu"),
        ("auto", "cuda", "reference"),
        ("reference", "cpu", "reference"),
        (("tpu", "cpu"), "cpu", "cpu"),
    ]:
        found = choices(
            lambda x, w, i=implementation: step(x, w, i), *arguments, platform=platform
        )
        assert [(c.op, c.pass_name, c.implementation) for c in found] == [
            (f"{op}_conv", "forward", want),
            (f"{op}_conv", "backward", want),
        ]


@pytest.mark.parametrize(
    ("op", "heads", "taps", "implementations"),
    [
        ("light", 8, 3, ["cpu", "cpu"]),
        ("light", 8, 2, ["cpu", "reference"]),
        ("dynamic", 8, 3, ["cpu", "cpu"]),
        ("dynamic", 8, 2, ["cpu", "reference"]),
        ("dynamic", 32, 31, ["reference", "cpu"]),
        ("dynamic", 32, 5, ["reference", "reference"]),
        ("dynamic", 256, 31, ["reference", "reference"]),
    ],
)
def test_auto_takes_the_faster(op, heads, taps, implementations):
    x = jax.ShapeDtypeStruct((8, 512, 256), jnp.float32)
    lead = () if op == "light" else (8, 512)
    weights = jax.ShapeDtypeStruct((*lead, heads, taps), jnp.float32)
    found = choices(jax.grad(lambda x, w: OPS[op](x, w, causal=True).sum()), x, weights)
    assert [c.implementation for c in found] == implementations
    for choice in found:
        reason = "cpu: measured slower than jnp with"
        assert [r.startswith(reason) for r in choice.passed_over] == (
            [True] if choice.implementation == "reference" else []
        )
    # Small arrays are never refused.
    small = [jax.ShapeDtypeStruct((1, 64, 256), jnp.float32)]
    small += [jax.ShapeDtypeStruct((*(lead and (1, 64)), heads, taps), jnp.float32)]
    found = choices(jax.grad(lambda x, w: OPS[op](x, w, causal=True).sum()), *small)
    assert [c.implementation for c in found] == ["cpu", "cpu"]


@pytest.mark.parametrize(
    ("module", "weights_shape", "settings"),
    [
        (light, (1, H, K), {"causal": True, "groups": 1}),
        (dynamic, (B, S, H, K), {"causal": True}),
    ],
)
def test_declared_costs_are_the_closed_forms(module, weights_shape, settings):
    x = jax.ShapeDtypeStruct((B, S, D), jnp.bfloat16)
    weights = jax.ShapeDtypeStruct(weights_shape, jnp.float32)
    operands = {"x": x, "weights": weights}
    forward = module.FORWARD.cost(operands, settings)
    backward = module.BACKWARD.cost(operands | {"output_grad": x}, settings)
    weights_bytes = 4 * int(np.prod(weights_shape))
    assert forward.flops == 2 * B * S * D * K
    assert backward.flops == 4 * B * S * D * K
    assert forward.bytes == 2 * 2 * B * S * D + weights_bytes
    assert backward.bytes == 3 * 2 * B * S * D + 2 * weights_bytes
    for kernel, given, declared in (
        (module.FORWARD, operands, forward),
        (module.BACKWARD, operands | {"output_grad": x}, backward),
    ):
        executed = kernel.implementations["cpu"].executed_flops(**given, **settings)
        assert declared.flops <= executed <= 2 * declared.flops


@pytest.mark.parametrize("implementation", MOSTLY_CPU)
@pytest.mark.parametrize("op", OPS)
def test_no_array_of_all_taps_is_made(op, implementation):
    shape, taps = (2, 256, 128), 31
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    lead = () if op == "light" else shape[:2]
    weights = jax.ShapeDtypeStruct((*lead, 8, taps), jnp.float32)

    def step(x, w, output_grad):
        output, vjp = jax.vjp(
            lambda x, w: OPS[op](x, w, causal=True, implementation=implementation), x, w
        )
        return output, *vjp(output_grad)

    compiled = jax.jit(step).lower(x, weights, x).compile()
    temporary = compiled.memory_analysis().temp_size_in_bytes
    size = 4 * int(np.prod(shape))
    weights_size = 4 * int(np.prod(weights.shape))
    # Unfolded x would be 31 sizes.
    if implementation == "cpu":
        assert temporary < size // 8
    else:
        assert temporary < 4 * size + 3 * weights_size
