"""Tests the interpreted TPU kernels of the Mixture of Softmaxes against float64."""

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import kernels
from clinometer.kernels import MixtureBlocks
from clinometer.kernels import mixture_of_softmaxes
from clinometer.tests.kernels.mixture_of_softmaxes import truth

STRICT = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")


def step(h, mixture, context, table, output_grad):
    """Returns the output and all gradients."""

    def run(*operands):
        return mixture_of_softmaxes(*operands, implementation="tpu")

    with kernels.interpret(STRICT), kernels.target("TPU v5e"):
        output, pull = jax.vjp(run, h, mixture, context, table)
        return output, *pull(output_grad)


# Batch, length, width, components, vocabulary; tokens and columns of a block.
CASES = [
    ((2, 11, 24, 3, 700), (16, 128)),
    pytest.param((1, 3, 128, 2, 48), (16, 128), marks=pytest.mark.slow),
    pytest.param((8, 5, 16, 15, 1300), (32, 256), marks=pytest.mark.slow),
    pytest.param((2, 8, 160, 1, 896), (16, 128), marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("shape", "sizes"), CASES)
def test_values_and_gradients(shape, sizes):
    operands = truth.operands(*shape)
    with kernels.block_sizes(MixtureBlocks(*sizes)):
        output, *gradients = (np.float64(x) for x in step(*operands))
    exact = truth.Mixture(*operands[:4])
    error = np.abs(output.reshape(exact.output.shape) - exact.output)
    assert (error <= exact.output_error()).all()
    bounds = exact.gradient_errors(operands[4])
    for found, want, bound in zip(
        gradients, exact.gradients(operands[4]), bounds, strict=True
    ):
        assert (np.abs(found - want) <= bound).all()


def test_a_bfloat16_product_is_off_by_less_than_a_tenth_of_a_nat():
    """The error at the base model's width, where the first loss is tens of nats.

    A rounding is off by at most 2^-8 / sqrt(3) of a number in the mean, and errors of
    different factors are independent.
    """
    rng = np.random.default_rng(0)
    width, tokens, vocabulary = 768, 64, 2048
    contexts = np.tanh(rng.normal(size=(tokens, width)))
    table = rng.normal(size=(vocabulary, width))
    exact = contexts @ table.T
    found = truth.rounded(contexts) @ truth.rounded(table).T
    bound = truth.ROUNDING * np.sqrt(2 / 3 * (contexts**2 @ (table**2).T))
    mean = np.sqrt(np.mean((found - exact) ** 2 / bound**2))
    assert mean < 1
    logs = [x - truth.log_sum_exp(x, 1) for x in (found, exact)]
    assert np.sqrt(np.mean((logs[0] - logs[1]) ** 2)) < 0.1
    assert np.std(exact) > 10


def test_a_nan_reaches_its_token_and_no_other():
    h, *others = truth.operands(2, 11, 24, 3, 700)
    with kernels.block_sizes(MixtureBlocks(16, 128)):
        output, h_grad, *gradients = step(h.at[1, 3, 5].set(jnp.nan), *others)
    for x in (output, h_grad):
        assert np.argwhere(np.isnan(x).all(-1)).tolist() == [[1, 3]]
        assert np.argwhere(np.isnan(x).any(-1)).tolist() == [[1, 3]]
    for x in gradients:
        assert np.all(np.isnan(x))


@pytest.mark.slow
@pytest.mark.parametrize("mapped", [(0, 4), (0, 1, 2, 3, 4)])
def test_vmap_equals_a_loop(mapped):
    operands = truth.operands(2, 5, 24, 3, 200)
    given = [
        jnp.stack([x, jnp.flip(x, -1)]) if i in mapped else x
        for i, x in enumerate(operands)
    ]
    axes = [0 if i in mapped else None for i in range(5)]
    found = jax.vmap(step, axes)(*given)
    for i in range(2):
        one = [x[i] if k in mapped else x for k, x in enumerate(given)]
        for got, want in zip(found, step(*one), strict=True):
            # A float32 sum in another order may round to the next bfloat16, 2^-7 away.
            np.testing.assert_allclose(
                np.float32(got[i]), np.float32(want), rtol=1e-2, atol=1e-5
            )


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ((24, 128), "tokens: got 24; accepted are multiples of 16"),
        ((0, 128), "tokens: got 0; accepted are multiples of 16"),
        ((16, 100), "columns: got 100; accepted are multiples of 128"),
        ((16, 256), "columns: got 256; accepted .* one, or at least 6, make .* of 700"),
    ],
)
def test_block_sizes_that_do_not_fit_are_named(sizes, reason):
    operands = truth.operands(2, 11, 24, 3, 700)
    with (
        kernels.block_sizes(MixtureBlocks(*sizes)),
        pytest.raises(ValueError, match=f"MixtureBlocks: {reason}"),
    ):
        step(*operands)
