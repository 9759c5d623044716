"""Tests the interpreted TPU routing kernels against float64 formulas."""

import functools

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import kernels
from clinometer.kernels import switch_route
from clinometer.kernels.switch import RouteBlocks
from clinometer.kernels.switch import routing
from clinometer.kernels.switch import rows
from clinometer.tests.kernels import child
from clinometer.tests.kernels.switch import truth

STRICT = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
EXACT = ("expert_index", "slot", "counts")
CLOSE = ("gate", "load", "probability", "z")
GRADIENTS = ("gate", "probability", "z")


@functools.partial(jax.jit, static_argnames="capacity")
def route(logits, mask, *, capacity):
    return switch_route(logits, capacity=capacity, mask=mask, implementation="tpu")


@pytest.fixture(autouse=True)
def interpreted():
    with kernels.interpret(STRICT):
        yield


def compare(found, want, tolerance=2e-6):
    for name in EXACT:
        np.testing.assert_array_equal(getattr(found, name), want[name], err_msg=name)
    for name in CLOSE:
        np.testing.assert_allclose(
            getattr(found, name), want[name], rtol=tolerance, atol=1e-7, err_msg=name
        )


SHAPES = [
    pytest.param((1, 1, 1), 4, False, marks=pytest.mark.slow),
    pytest.param((3, 7, 2), 2, True, marks=pytest.mark.slow),
    ((2, 130, 37), 3, True),
    pytest.param((2, 65, 3), 9, True, marks=pytest.mark.slow),
    pytest.param((1, 128, 8), 4, False, marks=pytest.mark.slow),
    pytest.param((1, 1100, 16), 60, True, marks=pytest.mark.slow),
    pytest.param((2, 200, 128), 2, True, marks=pytest.mark.slow),
    pytest.param((1, 300, 200), 2, False, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("shape", "capacity", "masked"), SHAPES)
@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)]
)
def test_values(shape, capacity, masked, dtype):
    logits = jnp.asarray(3 * truth.normal(0, *shape), dtype)
    mask = truth.normal(1, *shape[:2]) > -0.5 if masked else None
    found = route(logits, mask, capacity=capacity)
    compare(found, truth.route(np.asarray(logits, np.float32), capacity, mask))


@pytest.mark.slow
def test_a_group_of_several_blocks():
    logits = truth.f32(3 * truth.normal(0, 2, 200, 9))
    mask = truth.normal(1, 2, 200) > -0.5
    with kernels.block_sizes(RouteBlocks(tokens=128)):
        compare(route(logits, mask, capacity=17), truth.route(logits, 17, mask))
        wanted = {
            name: truth.normal(
                2, *getattr(route(logits, mask, capacity=17), name).shape
            )
            for name in GRADIENTS
        }
        found = gradient(logits, mask, wanted, "tpu")
    np.testing.assert_allclose(
        found, gradient(logits, mask, wanted, "reference"), rtol=1e-5, atol=1e-6
    )


def gradient(logits, mask, wanted, implementation):
    def loss(x):
        found = switch_route(
            x, capacity=17, mask=mask, implementation=implementation
        )._asdict()
        return sum(jnp.sum(found[name] * w) for name, w in wanted.items())

    # Not in one program: the simulated memory of one kernel would end in another.
    return jax.grad(loss)(logits)


@pytest.mark.parametrize(
    "shape", [(2, 21, 5), pytest.param((1, 140, 16), marks=pytest.mark.slow)]
)
def test_gradients_by_finite_differences(shape):
    logits = truth.normal(7, *shape)
    mask = truth.normal(8, *shape[:2]) > -1
    shapes = (shape[:2], shape[::2], shape[:1])
    wanted = {
        name: truth.normal(9 + i, *s)
        for i, (name, s) in enumerate(zip(GRADIENTS, shapes, strict=True))
    }
    grad = np.asarray(gradient(truth.f32(logits), mask, wanted, "tpu"), np.float64)
    assert not np.any(grad[~mask])
    for seed in range(3):
        direction = truth.normal(20 + seed, *shape)
        values = []
        for step in (1e-6, -1e-6):
            want = truth.route(logits + step * direction, 17, mask)
            values.append(sum(np.sum(want[name] * w) for name, w in wanted.items()))
        slope = (values[0] - values[1]) / 2e-6
        np.testing.assert_allclose(np.sum(grad * direction), slope, rtol=1e-4)


@pytest.mark.slow
def test_bfloat16_logits_have_a_bfloat16_gradient():
    logits = jnp.asarray(truth.normal(2, 1, 50, 8), jnp.bfloat16)
    grad = jax.grad(lambda x: route(x, None, capacity=5).gate.sum())(logits)
    want = jax.grad(
        lambda x: switch_route(x, capacity=5, implementation="reference").gate.sum()
    )(logits)
    assert grad.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        grad.astype(np.float32), want.astype(np.float32), rtol=1e-2, atol=1e-4
    )


def test_ties_go_to_the_lowest_expert_and_places_follow_token_order():
    logits = jnp.zeros((1, 20, 19)).at[0, ::2, 11].set(1.0).at[0, ::2, 17].set(1.0)
    found = route(logits, None, capacity=6)
    assert found.expert_index[0].tolist() == [11, 0] * 10
    firsts = [(11 if n % 2 == 0 else 0) * 6 + n // 2 for n in range(12)]
    assert found.slot[0].tolist() == firsts + [-1] * 8


def test_padding_and_impossible_experts_change_nothing():
    logits = truth.f32(truth.normal(4, 1, 30, 6)).at[..., 2].set(-jnp.inf)
    padded = jnp.pad(logits, ((0, 0), (0, 12), (0, 0)), constant_values=jnp.nan)
    mask = jnp.arange(42)[None] < 30
    want = truth.route(logits, 5)
    found = route(padded, mask, capacity=5)
    for name in EXACT[1:] + CLOSE:
        value = np.asarray(getattr(found, name))
        if value.shape == (1, 42):
            assert np.all(value[:, 30:] == (-1 if name == "slot" else 0))
            value = value[:, :30]
        np.testing.assert_allclose(value, want[name], rtol=2e-6, atol=1e-7)
    assert found.probability[0, 2] == 0
    nothing = route(padded, mask & False, capacity=5)
    for name in ("gate", "counts", "load", "probability", "z"):
        assert not np.any(np.asarray(getattr(nothing, name)))


@pytest.mark.parametrize("bad", [pytest.param(np.nan, marks=pytest.mark.slow), np.inf])
def test_nan_goes_in_and_comes_out(bad):
    logits = truth.f32(truth.normal(5, 1, 9, 11)).at[0, 4, 7].set(bad)
    found = route(logits, None, capacity=9)
    assert np.flatnonzero(np.isnan(found.gate[0])).tolist() == [4]
    assert found.expert_index[0, 4] == 7
    assert np.all(np.isnan(found.probability)) and np.all(np.isnan(found.z))
    grad = jax.grad(lambda x: route(x, None, capacity=9).gate.sum())(logits)
    assert np.all(np.isnan(grad[0, 4])) and not np.any(np.isnan(grad[0, :4]))


def test_vmap_with_a_shared_mask_equals_a_loop():
    logits = truth.f32(truth.normal(3, 2, 1, 40, 5))
    mask = truth.normal(1, 1, 40) > 0
    run = functools.partial(route, capacity=4)
    found = jax.vmap(run, (0, None))(logits, mask)
    for i in range(2):
        compare(
            jax.tree.map(lambda x, i=i: x[i], found), truth.route(logits[i], 4, mask)
        )


@pytest.mark.slow
def test_groups_are_divided_over_devices():
    code = """
import json, jax, numpy as np
from jax.experimental.pallas import tpu as pltpu
from clinometer import kernels
from clinometer.tests.kernels.switch import truth
mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
logits = truth.f32(truth.normal(3, 4, 40, 5))
@jax.jit
def run(x):
    return kernels.switch_route(x, capacity=4, implementation="tpu")
with kernels.target("TPU v5e"), kernels.interpret(pltpu.InterpretParams()):
    alone = run(logits)
    with kernels.shard_over(mesh, batch="data"):
        apart = run(logits)
same = [bool(np.all(np.asarray(a) == np.asarray(b))) for a, b in zip(alone, apart)]
print(json.dumps(same))
"""
    flags = "--xla_force_host_platform_device_count=2"
    assert child.printed(child.run(code, XLA_FLAGS=flags)) == [True] * 7


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"tokens": 0}, "tokens: got 0; accepted are multiples of 128 up to 8192"),
        ({"tokens": 100}, "tokens: got 100; accepted are multiples of 128"),
        ({"tokens": 1 << 20}, "tokens: got 1048576; accepted are multiples of 128"),
        ({"tokens": 256, "groups": 2}, "groups: got 2; accepted are divisors of 3"),
        ({"tokens": 128, "groups": 3}, "groups: got 3 in blocks of 128 tokens"),
    ],
)
def test_block_sizes_that_do_not_fit_are_named(sizes, message):
    with (
        kernels.block_sizes(RouteBlocks(**sizes)),
        pytest.raises(ValueError, match=f"RouteBlocks: {message}"),
    ):
        switch_route(jnp.zeros((3, 200, 5)), capacity=4, implementation="tpu")


@pytest.mark.parametrize(
    ("kind", "shape", "reason"),
    [
        ("TPU v3", (1, 40, 5), "TPU v3: its compiler refuses"),
        ("TPU v5e", (1, 40, 600), "up to 512 experts, got 600"),
        ("TPU v5e", (1, 1 << 24, 2), "below 16777216 tokens"),
    ],
)
def test_what_it_refuses_is_left_to_xla_for_a_reason(kind, shape, reason):
    logits = jax.ShapeDtypeStruct(shape, jnp.float32)
    run = functools.partial(switch_route, capacity=4)
    with kernels.target(kind), kernels.interpret(None):
        (choice,) = kernels.choices(run, logits, platform="tpu")
    assert choice.implementation == "reference"
    assert reason in choice.passed_over[0]
    assert routing.FORWARD.implementations["tpu"].executed_flops(logits=logits) == 0


@pytest.mark.parametrize(
    ("groups", "num_tokens", "num_experts", "capacity"),
    [(1, 1, 1, 1), (2, 7, 3, 4), (3, 70, 5, 29), (1, 600, 4, 200)],
)
def test_rows_are_moved_to_their_slots_and_back(
    groups, num_tokens, num_experts, capacity
):
    slot = truth.random_slots(0, groups, num_tokens, num_experts * capacity)
    x = truth.f32(truth.normal(1, groups, num_tokens, 8))
    sizes = {"num_experts": num_experts, "capacity": capacity}
    run = functools.partial(kernels.switch_dispatch, **sizes, implementation="tpu")
    found = jax.jit(run)(x, slot)
    np.testing.assert_array_equal(found, truth.dispatch(x, slot, **sizes).astype("f"))
    gate = truth.f32(truth.normal(2, groups, num_tokens))
    y = truth.f32(truth.normal(3, groups, num_experts, capacity, 8))
    output_grad = truth.f32(truth.normal(4, groups, num_tokens, 8))
    run = rows.COMBINE_BACKWARD.function("tpu", {})
    y_grad, gate_grad = jax.jit(run)(y, slot, gate, output_grad)
    want = truth.dispatch(output_grad * gate[..., None], slot, **sizes)
    np.testing.assert_allclose(y_grad, want, rtol=1e-6)
    moved = truth.combine(y, slot, np.ones_like(gate))
    want = np.sum(moved * np.asarray(output_grad), axis=-1)
    np.testing.assert_allclose(gate_grad, want, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_many_tokens_are_told_apart_by_three_digits():
    num_tokens = 66_000
    slot = np.full((1, num_tokens), -1, np.int32)
    slot[0, [0, 255, 256, 65_535, 65_536, 65_999]] = [63, 2, 16, 0, 17, 40]
    x = jnp.arange(num_tokens, dtype=jnp.float32)[None, :, None]
    sizes = {"num_experts": 4, "capacity": 16}
    (found,) = rows.DISPATCH_FORWARD.function("tpu", sizes)(x, slot)
    np.testing.assert_array_equal(found, truth.dispatch(x, slot, 4, 16))
    run = functools.partial(kernels.switch_dispatch, **sizes)
    with kernels.target("TPU v5e"), kernels.interpret(None):
        (choice,) = kernels.choices(run, x, jnp.asarray(slot), platform="tpu")
    assert choice.implementation == "reference"
    assert "for 66000 tokens, computing indices by matmuls" in choice.passed_over[0]
