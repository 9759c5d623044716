"""Tests dropout of the hidden rows in the TPU kernels of `expert_feed_forward`.

The mask is read from a layer whose output is its hidden rows.
"""

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import kernels
from clinometer.kernels import ExpertBlocks
from clinometer.kernels import expert_feed_forward
from clinometer.kernels.switch import feed_forward
from clinometer.kernels.switch import tpu_dropout
from clinometer.tests.kernels.switch import truth

STRICT = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
RATE = 0.3
# Groups, experts, capacity, width, hidden width; two blocks.
SHAPE = (2, 3, 13, 16, 256)
MOST = 5.0  # Standard deviations.


def layer(x, wi, wo, counts, key, rate=RATE):
    return expert_feed_forward(
        *(x, wi, wo, counts),
        num_tokens=20,
        dropout_rate=rate,
        dropout_key=key,
        implementation="tpu",
    )


def step(x, wi, wo, counts, y_grad, key):
    """Returns y and all gradients."""
    with (
        kernels.interpret(STRICT),
        kernels.target("TPU v5e"),
        kernels.block_sizes(ExpertBlocks(hidden=128)),
    ):
        y, pull = jax.vjp(lambda *a: layer(*a, counts, key), x, wi, wo)
        return y, *pull(y_grad)


def dropped_ones(shape, key):
    """Returns hidden rows [G, E, C, f] that were 1 before dropout."""
    groups, num_experts, capacity, _, hidden = shape
    x = jnp.zeros((groups, num_experts, capacity, hidden)).at[..., 0].set(1.0)
    wi = jnp.zeros((num_experts, hidden, hidden)).at[:, 0].set(1.0)
    wo = jnp.broadcast_to(jnp.eye(hidden), wi.shape)
    counts = jnp.full((groups, num_experts), capacity)
    with kernels.interpret(STRICT), kernels.target("TPU v5e"):
        return layer(x, wi, wo, counts, key)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_both_passes_have_one_mask_in_any_blocks(dtype):
    key = jax.random.key(5)
    rows = np.asarray(dropped_ones(SHAPE, key))
    np.testing.assert_allclose(np.unique(rows), [0, 1 / (1 - RATE)], rtol=1e-6)
    deviation = (RATE * (1 - RATE) / rows.size) ** 0.5
    assert abs((rows == 0).mean() - RATE) < MOST * deviation
    # No two of an expert's rows, and no two experts, have the same mask.
    assert len(np.unique(rows.reshape(-1, SHAPE[-1]), axis=0)) == np.prod(SHAPE[:3])
    operands = truth.feed_forward_operands(SHAPE, dtype)
    found = step(*operands, key)
    truth.compare_feed_forward(found, operands, rows.astype(np.float64))
    # The comparison sees whether the mask is right: another one is not accepted.
    other = np.roll(rows, 1, axis=2)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        truth.compare_feed_forward(found, operands, other)


def test_vmap_over_keys_equals_a_loop():
    shape = (2, 2, 5, 8, 16)
    two = jax.random.split(jax.random.key(0), 2)
    found = jax.vmap(lambda key: dropped_ones(shape, key))(two)
    for key, rows in zip(two, found, strict=True):
        np.testing.assert_array_equal(rows, dropped_ones(shape, key))
    assert np.any(found[0] != found[1])


def test_a_shard_has_its_part_of_the_mask():
    """Over groups, experts, and the hidden width, as `shard_over` divides operands."""
    x, wi, wo, counts, _ = truth.feed_forward_operands(SHAPE, jnp.float32)
    draws = feed_forward.draws(jax.random.key(1), RATE, (*SHAPE[:3], SHAPE[4]))
    whole = {"x": x, "wi": wi[None], "wo": wo[None], "counts": jnp.asarray(counts)}
    whole |= draws
    settings = {"num_tokens": 20, "num_experts": 3, "groups": 1, "dropout_rate": RATE}
    run = feed_forward.FORWARD.function("tpu", settings)

    def output(axes, start, stop):
        """Returns y of a part: axes are the letters of those that are divided."""
        part = dict(whole)
        for name, named in feed_forward.FORWARD.signature.operands.items():
            for place, axis in enumerate(named.split()):
                if axis in axes and whole[name].shape[place] > 1:
                    index = jnp.arange(start, stop)
                    part[name] = jnp.take(part[name], index, axis=place)
        with kernels.interpret(STRICT), kernels.target("TPU v5e"):
            return np.asarray(run(*part.values())[0])

    y = output("", 0, 0)
    np.testing.assert_array_equal(output("b", 1, 2), y[1:])
    np.testing.assert_array_equal(output("e", 1, 3), y[:, 1:])
    halves = output("m", 0, 128) + output("m", 128, 256)
    np.testing.assert_allclose(halves, y, rtol=1e-5, atol=1e-5)


def test_without_dropout_the_kernels_are_those_without_it():
    x, wi, wo, counts, _ = truth.feed_forward_operands(SHAPE, jnp.float32)

    def lowered(rate, key):
        def loss(x, wi, wo):
            return jnp.sum(layer(x, wi, wo, counts, key, rate))

        with kernels.target("TPU v5e"):
            traced = jax.jit(jax.grad(loss, (0, 1, 2))).trace(x, wi, wo)
            return traced.lower(lowering_platforms=("tpu",)).as_text()

    key = jax.random.key(0)
    plain = lowered(0.0, None)
    assert lowered(0.0, key) == plain == lowered(RATE, None)
    assert lowered(RATE, key) != plain


def mask(key, num_experts, rows, columns, rate):
    """Returns the kept elements [E, R, M] as kernels draw them."""
    drawn = feed_forward.draws(key, rate, (1, num_experts, 1, columns))
    keys = jax.vmap(lambda seed: tpu_dropout.row_keys(seed, (rows, 1)))
    return tpu_dropout.keep(keys(drawn["seeds"][0]), drawn["column_keys"][None], rate)


@pytest.mark.parametrize("rate", [0.1, 0.37])
def test_rate_is_exact_to_a_ten_thousandth(rate):
    """2^28 elements: the deviation of their mean is at most 3e-5."""
    count = jax.jit(lambda key: jnp.sum(mask(key, 1, 1 << 12, 1 << 12, rate)))
    dropped = sum((1 << 24) - int(count(jax.random.key(seed))) for seed in range(16))
    assert abs(dropped / (1 << 28) - rate) < 1e-4


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_elements_are_independent(rate):
    """Products of neighbours, and counts in rows and columns, are as by chance."""
    shape = (8, 160, 2048)
    draw = jax.jit(lambda seed: mask(jax.random.key(seed), *shape, rate))
    variance = rate * (1 - rate)

    def centred(seed):
        return np.asarray(draw(seed), np.float32) - np.float32(1 - rate)

    x, other = centred(0), centred(1)

    def chance(product, factors):
        """Checks the mean of products of independent elements."""
        mean = np.mean(product, dtype=np.float64) / variance ** (factors / 2)
        assert abs(mean) < MOST / product.size**0.5

    chance(x, 1)
    chance(x * other, 2)  # Seeds.
    lags = {0: (1, 2, 4), 1: (1, 2, 7, 8, 16, 128), 2: (1, 2, 64, 128, 256, 1024)}
    for axis, steps in lags.items():
        for lag in steps:
            ahead, behind = (
                np.take(x, np.arange(start, start + shape[axis] - lag), axis)
                for start in (0, lag)
            )
            chance(ahead * behind, 2)
            # Elements of two rows in two columns: their keys' exclusive or is 0.
            if axis == 2:
                both = ahead * behind
                chance(both[:, :-1] * both[:, 1:], 4)
                chance(both[:, :-8] * both[:, 8:], 4)
    for axes in ((2,), (1,), (0, 1), (1, 2)):
        sums = np.sum(x, axes, dtype=np.float64)
        spread = np.mean(sums**2) / (variance * x.size / sums.size)
        assert abs(spread - 1) < MOST * (2 / sums.size) ** 0.5
