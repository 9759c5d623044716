"""Tests the Switch operations under vmap, remat, scan; choices, costs, memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import choices
from clinometer.kernels import equations
from clinometer.kernels import expert_feed_forward
from clinometer.kernels import expert_matmul
from clinometer.kernels import switch_combine
from clinometer.kernels import switch_dispatch
from clinometer.kernels import switch_route
from clinometer.kernels.cpu import native
from clinometer.tests.kernels.switch import truth

N, E, C, D, F = 12, 3, 4, 8, 6

# The rule of `vmap` is the primitive's, not the implementation's: one is enough.
IMPLEMENTATIONS = (pytest.param("reference", marks=pytest.mark.slow), "cpu")


def layer(logits, x, wi, wo, implementation="auto"):
    """A whole Switch layer of [G, N, d]; differentiable in every argument."""
    route = switch_route(logits, capacity=C, implementation=implementation)
    rows = switch_dispatch(
        x, route.slot, num_experts=E, capacity=C, implementation=implementation
    )
    y = expert_feed_forward(
        rows, wi, wo, route.counts, num_tokens=N, implementation=implementation
    )
    output = switch_combine(y, route.slot, route.gate, implementation=implementation)
    return output, jnp.sum(route.probability**2) + jnp.sum(route.z)


def arguments(groups, mapped=()):
    """Returns logits, x, wi, wo; those with index in `mapped` get an axis of 2."""
    shapes = [(groups, N, E), (groups, N, D), (E, D, F), (E, F, D)]
    return [
        truth.f32(truth.normal(i, *((2,) if i in mapped else ()), *shape))
        for i, shape in enumerate(shapes)
    ]


def loss(*operands, implementation):
    output, extra = layer(*operands, implementation)
    return jnp.sum(jnp.sin(output)) + extra


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("mapped", "groups"),
    [((0, 1, 2, 3), 2), ((1,), 1), ((2,), 2), ((0, 1), 1), ((1, 3), 2)],
    ids=str,
)
def test_vmap_equals_a_loop(mapped, groups, implementation):
    operands = arguments(groups, mapped)
    axes = [0 if i in mapped else None for i in range(4)]
    run = jax.value_and_grad(
        functools.partial(loss, implementation=implementation), (0, 1, 2, 3)
    )
    got = jax.jit(jax.vmap(run, in_axes=axes))(*operands)
    one = jax.jit(run)
    rows = [
        one(*(x[i] if a == 0 else x for x, a in zip(operands, axes, strict=True)))
        for i in range(2)
    ]
    want = jax.tree.map(lambda *x: jnp.stack(x), *rows)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_vmap_of_a_mask_alone(implementation):
    logits = arguments(1)[0]
    masks = truth.normal(9, 2, 1, N) > 0
    run = functools.partial(
        switch_route, logits, capacity=C, implementation=implementation
    )
    got = jax.jit(jax.vmap(lambda mask: run(mask=mask)))(masks)
    for i in range(2):
        want = truth.route(logits, C, masks[i])
        np.testing.assert_array_equal(got.slot[i], want["slot"])
        np.testing.assert_allclose(got.probability[i], want["probability"], rtol=1e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_shared_weights_are_not_repeated(implementation):
    x = jnp.zeros((5, 1, E, C, D))
    w = jnp.zeros((E, D, F))
    counts = jnp.zeros((5, 1, E), jnp.int32)
    matmul = functools.partial(
        expert_matmul, num_tokens=N, implementation=implementation
    )
    jaxpr = jax.make_jaxpr(jax.vmap(matmul, in_axes=(0, None, 0)))(x, w, counts)
    (call,) = [e for e in jaxpr.eqns if "custom_vjp" in e.primitive.name]
    text = str(call)
    assert f"f32[1,{E},{D},{F}]" in text and f"f32[5,{E},{D},{F}]" not in text


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_remat_and_scan_over_layers(implementation):
    logits, x, wi, wo = arguments(2)
    scales = jnp.arange(1.0, 4.0)

    def step(x, scale):
        return x + layer(logits * scale, x, wi, wo, implementation)[0], None

    def scanned(x, wrap):
        return jnp.sum(jax.lax.scan(wrap(step), x, scales)[0] ** 2)

    def unrolled(x):
        for scale in scales:
            x, _ = step(x, scale)
        return jnp.sum(x**2)

    want = jax.jit(jax.grad(unrolled))(x)
    for wrap in (lambda f: f, jax.checkpoint):
        got = jax.jit(jax.grad(functools.partial(scanned, wrap=wrap)))(x)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_implementations_agree_in_a_layer():
    values = [
        jax.jit(
            jax.value_and_grad(
                functools.partial(loss, implementation=name), (0, 1, 2, 3)
            )
        )(*arguments(2))
        for name in truth.IMPLEMENTATIONS
    ]
    for a, b in zip(*map(jax.tree.leaves, values), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


SLOT, COUNTS = jnp.zeros((1, N), jnp.int32), jnp.zeros((1, E), jnp.int32)
# Each operation as a function of one operand, and that operand's shape.
OPS = {
    "switch_route": (lambda a: switch_route(a, capacity=C).gate, (1, N, E)),
    "switch_dispatch": (
        lambda a: switch_dispatch(a, SLOT, num_experts=E, capacity=C),
        (1, N, D),
    ),
    "switch_combine": (
        lambda a: switch_combine(a, SLOT, jnp.ones((1, N))),
        (1, E, C, D),
    ),
    "expert_matmul": (
        lambda a: expert_matmul(a, jnp.ones((E, D, F)), COUNTS, num_tokens=N),
        (1, E, C, D),
    ),
    "expert_feed_forward": (
        lambda a: expert_feed_forward(
            a, jnp.ones((E, D, F)), jnp.ones((E, F, D)), COUNTS, num_tokens=N
        ),
        (1, E, C, D),
    ),
}


@pytest.mark.parametrize("op", OPS)
def test_second_derivatives_are_a_clear_error(op):
    function, shape = OPS[op]
    first = jax.grad(lambda a: jnp.sum(function(a) ** 2))
    with pytest.raises(NotImplementedError, match=f"{op}: only first derivatives"):
        jax.make_jaxpr(jax.grad(lambda a: jnp.sum(first(a))))(jnp.ones(shape))


@pytest.mark.parametrize(
    ("isa", "matmul"), [("avx2", "cpu"), ("baseline", "reference")]
)
def test_choices_tell_the_implementation(isa, matmul, monkeypatch):
    monkeypatch.setattr(native, "active_isa", lambda: isa)

    def run(*operands):
        return loss(*operands, implementation="auto")

    found = choices(jax.grad(run, (0, 1, 2, 3)), *arguments(1), platform="cpu")
    passes = sorted((c.op, c.pass_name, c.implementation) for c in found)
    ops = ["expert_feed_forward", "switch_combine", "switch_dispatch", "switch_route"]
    assert passes == sorted(
        (op, name, matmul if op == "expert_feed_forward" else "cpu")
        for op in ops
        for name in ("forward", "backward")
    )
    reasons = {r for c in found for r in c.passed_over}
    assert reasons == (
        {"cpu: without AVX2, XLA's own matmuls are faster"}
        if isa == "baseline"
        else set()
    )
    on_tpu = choices(run, *arguments(1), platform="tpu")
    assert {c.op: c.implementation for c in on_tpu} == {
        "expert_feed_forward": "tpu",
        "switch_combine": "reference",
        "switch_dispatch": "tpu",
        "switch_route": "tpu",
    }
    reasons = {r for c in on_tpu for r in c.passed_over}
    assert all(r.startswith("tpu: XLA's own") for r in reasons) and len(reasons) == 1


def kernel_equations(function, *operands):
    """The kernels' equations of a function, by operation and pass."""
    found = equations.calls(jax.make_jaxpr(function)(*operands).jaxpr)
    return {(e.params["kernel"].op, e.params["kernel"].pass_name): e for e in found}


def test_declared_costs_equal_the_closed_forms():
    def run(*operands):
        return loss(*operands, implementation="cpu")

    found = kernel_equations(jax.grad(run, (0, 1, 2, 3)), *arguments(2))
    costs = {key: equations.declared_cost(e) for key, e in found.items()}
    product = 2 * 2 * N * D * F
    for (op, pass_name), cost in costs.items():
        passes = {"forward": 1, "backward": 2}[pass_name]
        of_experts = 2 * passes * product  # Both matrices'.
        assert cost.flops == (of_experts if op == "expert_feed_forward" else 0)
    # Logits and mask read; index, slot, gate, counts, load, probability, z written.
    assert costs["switch_route", "forward"].bytes == (
        4 * 2 * N * E + N + 4 * 3 * 2 * N + 4 * 3 * 2 * E + 4 * 2
    )
    dispatched = 4 * 2 * (N * D + N + E * C * D)
    assert costs["switch_dispatch", "forward"].bytes == dispatched
    # The most that can be executed: the reference multiplies every slot.
    executed = {
        pass_name: equations.executed_flops(
            found["expert_feed_forward", pass_name], "cpu", lambda jaxpr: -1
        )
        for pass_name in ("forward", "backward")
    }
    most = 2 * 2 * 2 * min(N, E * C) * D * F
    assert executed == {"forward": most, "backward": 2 * most}


def test_memory_of_a_layer_is_its_rows():
    """No [N, E, C] mask is made: temporaries are rows, for any number of experts."""
    num_tokens, num_experts, capacity, width = 1024, 32, 40, 16
    logits = jnp.zeros((1, num_tokens, num_experts))
    x = jnp.zeros((1, num_tokens, width))

    def run(logits, x):
        route = switch_route(logits, capacity=capacity, implementation="cpu")
        rows = switch_dispatch(
            x,
            route.slot,
            num_experts=num_experts,
            capacity=capacity,
            implementation="cpu",
        )
        output = switch_combine(rows, route.slot, route.gate, implementation="cpu")
        return jnp.sum(output**2)

    compiled = jax.jit(jax.grad(run, (0, 1))).lower(logits, x).compile()
    temporary = compiled.memory_analysis().temp_size_in_bytes
    assert temporary < 8 * 4 * num_experts * capacity * width
