"""Tests `switch_route` against its formulas: values, gradients, ties, capacity."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import expert_capacity
from clinometer.kernels import load_balance_loss
from clinometer.kernels import switch_route
from clinometer.tests.kernels.switch import truth

EXACT = ("expert_index", "slot", "counts")
CLOSE = ("gate", "load", "probability", "z")


@functools.partial(jax.jit, static_argnames=("capacity", "implementation"))
def run(logits, mask, *, capacity, implementation):
    return switch_route(
        logits, capacity=capacity, mask=mask, implementation=implementation
    )


def compare(route, want, tolerance=2e-6):
    for name in EXACT:
        np.testing.assert_array_equal(getattr(route, name), want[name], err_msg=name)
    for name in CLOSE:
        np.testing.assert_allclose(
            getattr(route, name), want[name], rtol=tolerance, atol=1e-7, err_msg=name
        )


@pytest.mark.parametrize("implementation", truth.IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("shape", "capacity", "masked"),
    [
        ((1, 1, 1), 4, False),
        ((3, 7, 2), 2, True),
        ((2, 65, 3), 9, True),
        ((1, 130, 8), 4, False),
        ((2, 40, 37), 3, True),
        ((1, 1100, 16), 60, True),  # several blocks of tokens
    ],
)
def test_values(shape, capacity, masked, implementation):
    logits = truth.f32(3 * truth.normal(0, *shape))
    mask = truth.normal(1, *shape[:2]) > -0.5 if masked else None
    route = run(logits, mask, capacity=capacity, implementation=implementation)
    compare(route, truth.route(logits, capacity, mask))
    slots = np.asarray(route.slot)
    assert np.sum(slots >= 0) == np.sum(route.counts)
    if not masked:
        np.testing.assert_allclose(np.sum(route.load, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
def test_bfloat16_logits_are_routed_in_float32(implementation):
    logits = jnp.asarray(truth.normal(2, 2, 50, 8), jnp.bfloat16)
    route = run(logits, None, capacity=5, implementation=implementation)
    assert route.gate.dtype == route.probability.dtype == jnp.float32
    compare(route, truth.route(np.asarray(logits, np.float32), 5))
    grad = jax.grad(
        lambda x: run(x, None, capacity=5, implementation=implementation).gate.sum()
    )(logits)
    assert grad.dtype == jnp.bfloat16


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
def test_ties_go_to_the_lowest_expert_and_places_follow_token_order(implementation):
    logits = jnp.zeros((1, 20, 19)).at[0, ::2, 11].set(1.0).at[0, ::2, 17].set(1.0)
    route = run(logits, None, capacity=6, implementation=implementation)
    assert route.expert_index[0].tolist() == [11, 0] * 10
    firsts = [(11 if n % 2 == 0 else 0) * 6 + n // 2 for n in range(12)]
    assert route.slot[0].tolist() == firsts + [-1] * 8


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
def test_all_tokens_to_one_expert(implementation):
    logits = jnp.zeros((2, 33, 5)).at[:, :, 3].set(9.0)
    route = run(logits, None, capacity=10, implementation=implementation)
    assert route.counts.tolist() == [[0, 0, 0, 10, 0]] * 2
    assert route.load.tolist() == [[0, 0, 0, 1, 0]] * 2
    assert route.slot[0].tolist() == [*range(30, 40), *[-1] * 23]
    assert np.all(np.asarray(route.gate) > 0.99)  # of dropped tokens too


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
def test_enough_capacity_drops_nothing_in_any_order(implementation):
    logits = truth.f32(truth.normal(3, 1, 64, 4))
    order = np.random.default_rng(0).permutation(64)
    first = run(logits, None, capacity=64, implementation=implementation)
    second = run(logits[:, order], None, capacity=64, implementation=implementation)
    assert np.all(np.asarray(first.slot) >= 0)
    np.testing.assert_array_equal(first.counts, second.counts)
    np.testing.assert_array_equal(first.gate[:, order], second.gate)
    # With less, only who is dropped depends on the order.
    less = [
        run(x, None, capacity=9, implementation=implementation)
        for x in (logits, logits[:, order])
    ]
    assert np.any((less[0].slot[:, order] < 0) != (less[1].slot < 0))
    np.testing.assert_array_equal(less[0].counts, less[1].counts)
    np.testing.assert_array_equal(less[0].expert_index[:, order], less[1].expert_index)


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
def test_padding_changes_nothing_for_the_rest(implementation):
    logits = truth.f32(truth.normal(4, 1, 30, 6))
    padded = jnp.pad(logits, ((0, 0), (0, 12), (0, 0)), constant_values=jnp.nan)
    mask = jnp.arange(42)[None] < 30
    short = run(logits, None, capacity=5, implementation=implementation)
    long = run(padded, mask, capacity=5, implementation=implementation)
    for name in EXACT[1:] + CLOSE:
        value = getattr(long, name)
        if value.shape == (1, 42):
            assert np.all(np.asarray(value[:, 30:]) == (-1 if name == "slot" else 0))
            value = value[:, :30]
        np.testing.assert_allclose(value, getattr(short, name), rtol=1e-6)
    nothing = run(padded, mask & False, capacity=5, implementation=implementation)
    for name in ("gate", "counts", "load", "probability", "z"):
        assert not np.any(np.asarray(getattr(nothing, name)))


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_goes_in_and_comes_out(bad, implementation):
    logits = truth.f32(truth.normal(5, 1, 9, 11)).at[0, 4, 7].set(bad)
    route = run(logits, None, capacity=9, implementation=implementation)
    assert np.flatnonzero(np.isnan(route.gate[0])).tolist() == [4]
    assert route.expert_index[0, 4] == 7
    assert np.all(np.isnan(route.probability)) and np.all(np.isnan(route.z))
    grad = jax.grad(
        lambda x: run(x, None, capacity=9, implementation=implementation).gate.sum()
    )(logits)
    assert np.all(np.isnan(grad[0, 4])) and not np.any(np.isnan(grad[0, :4]))


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
def test_an_impossible_expert_gets_exactly_nothing(implementation):
    logits = truth.f32(truth.normal(6, 1, 10, 5)).at[..., 2].set(-jnp.inf)
    route = run(logits, None, capacity=10, implementation=implementation)
    assert route.probability[0, 2] == 0 and route.counts[0, 2] == 0
    compare(route, truth.route(logits, 10))


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
@pytest.mark.parametrize("shape", [(2, 21, 5), (1, 600, 16)])
def test_gradients_by_finite_differences(shape, implementation):
    logits = truth.normal(7, *shape)
    mask = truth.normal(8, *shape[:2]) > -1
    weights = [
        truth.normal(9 + i, *s)
        for i, s in enumerate((shape[:2], shape[::2], shape[:1]))
    ]

    def loss(gate, probability, z):
        terms = zip((gate, probability, z), weights, strict=True)
        return sum((x * w).sum() for x, w in terms)

    def of_logits(x):
        route = run(x, mask, capacity=3, implementation=implementation)
        return loss(route.gate, route.probability, route.z)

    grad = np.asarray(jax.jit(jax.grad(of_logits))(truth.f32(logits)), np.float64)
    assert not np.any(grad[~mask])
    for seed in range(3):
        direction = truth.normal(20 + seed, *shape)
        values = []
        for step in (1e-6, -1e-6):
            want = truth.route(logits + step * direction, 3, mask)
            values.append(loss(want["gate"], want["probability"], want["z"]))
        slope = (values[0] - values[1]) / 2e-6
        np.testing.assert_allclose(np.sum(grad * direction), slope, rtol=1e-4)


@pytest.mark.parametrize("implementation", truth.MOSTLY_CPU)
def test_load_and_integers_have_no_gradient(implementation):
    logits = truth.f32(truth.normal(10, 1, 12, 4))
    grad = jax.grad(
        lambda x: run(x, None, capacity=3, implementation=implementation).load.sum()
    )(logits)
    assert not np.any(np.asarray(grad))


@pytest.mark.parametrize("num_experts", [1, 2, 4, 32])
def test_the_loss_of_uniform_routing_is_one(num_experts):
    share = jnp.full((3, num_experts), 1.0 / num_experts)
    assert load_balance_loss(share, share) == 1.0
    assert 0.01 * load_balance_loss(share, share) == jnp.float32(0.01)


def test_the_loss_of_proportional_shares_is_least_at_balance():
    shares = np.random.default_rng(0).dirichlet(np.ones(8), 50)
    shares = shares.astype(np.float32)
    assert np.all([load_balance_loss(s[None], s[None]) >= 1 - 1e-6 for s in shares])


@pytest.mark.parametrize(
    ("args", "want"),
    [
        ((1024, 32, 1.25), 40),
        ((1024, 1, 1.25), 1024),
        ((16, 32, 2.0), 4),
        ((100, 7, 1.25), 17),
        ((2, 4, 1.0), 4),
        ((1000, 128, 1.0, 1), 7),
    ],
)
def test_expert_capacity(args, want):
    assert expert_capacity(*args) == want


def test_bad_capacity_is_named():
    with pytest.raises(ValueError, match="capacity_factor=0"):
        expert_capacity(8, 2, 0)
