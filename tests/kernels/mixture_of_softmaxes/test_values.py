"""Tests `mixture_of_softmaxes` in plain jnp against float64, and its choices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import kernels
from clinometer.kernels import cost
from clinometer.kernels import mixture_of_softmaxes
from clinometer.kernels.mixture_of_softmaxes import api
from clinometer.tests.kernels import child
from clinometer.tests.kernels.mixture_of_softmaxes import truth
from clinometer.tests.kernels.sharded_ops import abstract_mesh

SHAPE = (2, 7, 8, 3, 50)
BASE = (8, 114, 768, 15, 32128)


def step(*operands, chunk_tokens=32):
    """Returns the output and all gradients."""
    *given, output_grad = operands

    def run(*given):
        return mixture_of_softmaxes(
            *given, chunk_tokens=chunk_tokens, implementation="reference"
        )

    output, pull = jax.vjp(run, *given)
    return output, *pull(output_grad)


# All positions at once; one at a time; three at a time, with one left over.
@pytest.mark.parametrize("chunk_tokens", [32, 1, 6])
def test_values_and_gradients(chunk_tokens):
    h, *others = truth.operands(*SHAPE)
    operands = h.astype(jnp.float32), *others
    exact = truth.Mixture(*operands[:4])
    wanted = exact.output.reshape(*SHAPE[:2], -1), *exact.gradients(operands[4])
    found = jax.jit(lambda *x: step(*x, chunk_tokens=chunk_tokens))(*operands)
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


# Of h; of the parameters; of all.
@pytest.mark.parametrize("mapped", [(0, 4), (1, 2, 3), (0, 1, 2, 3, 4)])
def test_vmap_equals_a_loop(mapped):
    operands = truth.operands(*SHAPE)
    given = [
        jnp.stack([x, jnp.flip(x, -1), x / 2]) if i in mapped else x
        for i, x in enumerate(operands)
    ]
    axes = [0 if i in mapped else None for i in range(5)]
    found = jax.vmap(step, axes)(*given)
    for i in range(3):
        one = [x[i] if k in mapped else x for k, x in enumerate(given)]
        for got, want in zip(found, step(*one), strict=True):
            tolerance = 1e-5 if got.dtype == jnp.float32 else truth.ROUNDING
            np.testing.assert_allclose(
                np.float32(got[i]), np.float32(want), rtol=tolerance, atol=tolerance
            )


def test_gradients_of_another_implementation_would_show_the_missing_normalizers():
    operands = [x[None] if i else x for i, x in enumerate(truth.operands(*SHAPE)[:4])]
    run = api.FORWARD.function("reference", {"chunk_tokens": 32, "groups": 1})
    assert np.all(np.isnan(run(*operands)[1]))


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (0, lambda h: h[0], r"h: must be \[batch, length, width\], got shape \(7, 8\)"),
        (1, lambda x: x[:, :4], r"mixture: must be float32 \(3, 8\), got float32"),
        (2, lambda x: x[:2], r"context: must be float32 \(3, 8, 8\), got float32"),
        (3, jnp.bfloat16, r"table: must be float32 \(50, 8\), got bfloat16"),
    ],
)
def test_errors_name_the_argument(place, change, message):
    operands = list(truth.operands(*SHAPE)[:4])
    operands[place] = change(operands[place])
    with pytest.raises(ValueError, match=f"mixture_of_softmaxes: {message}"):
        mixture_of_softmaxes(*operands)


def test_a_chunk_has_at_least_a_token():
    with pytest.raises(ValueError, match="chunk_tokens: must be at least 1, got 0"):
        mixture_of_softmaxes(*truth.operands(*SHAPE)[:4], chunk_tokens=0)


def shapes(batch, length, width, components, vocabulary, dtype=jnp.bfloat16):
    """Returns the shapes of the operands."""
    sizes = (
        (components, width),
        (components, width, width),
        (vocabulary, width),
    )
    h = jax.ShapeDtypeStruct((batch, length, width), dtype)
    return h, *(jax.ShapeDtypeStruct(x, jnp.float32) for x in sizes)


def gradients(*operands):
    def loss(*operands):
        return jnp.sum(mixture_of_softmaxes(*operands))

    return jax.grad(loss, (0, 1, 2, 3))(*operands)


@pytest.mark.parametrize(
    ("kind", "dtype", "reason"),
    [
        ("TPU v5e", "bfloat16", None),
        ("TPU v5p", "bfloat16", None),
        ("TPU v6e", "bfloat16", None),
        ("TPU7x", "bfloat16", None),
        ("TPU v4", "bfloat16", "the logits of 16 tokens, 15 components and a voc"),
        ("TPU v3", "bfloat16", "TPU v3: its compiler refuses"),
        ("TPU v5e", "float32", "products are of bfloat16 numbers, and h is float32"),
    ],
)
def test_both_passes_have_a_kernel_or_are_left_to_xla_for_one_reason(
    kind, dtype, reason
):
    with kernels.target(kind):
        found = kernels.choices(gradients, *shapes(*BASE, dtype), platform="tpu")
    assert [x.pass_name for x in found] == ["forward", "backward"]
    wanted = "reference" if reason else "tpu"
    assert {x.implementation for x in found} == {wanted}
    assert all(reason in x.passed_over[0] for x in found if reason)


def test_a_vocabulary_over_several_devices_is_left_to_xla():
    given = shapes(4, 6, 16, 2, 96)
    for sizes, implementations in (
        ((2, 1), {"tpu"}),
        ((1, 2), set()),
        ((2, 2), set()),
    ):
        over = kernels.shard_over(abstract_mesh(*sizes), batch="data", heads="model")
        with over, kernels.target("TPU v5e"):
            found = kernels.choices(gradients, *given, platform="tpu")
            text = str(jax.make_jaxpr(gradients)(*given))
        assert {x.implementation for x in found} == implementations
        assert ("shard_map" in text) == bool(implementations)


SHARDED = """
import json
import jax
from jax.sharding import PartitionSpec as P
from clinometer.tests.kernels import sharded_ops
from clinometer.tests.kernels.mixture_of_softmaxes import test_values, truth

def compared(*sizes):
    h, *others = truth.operands(4, 6, 16, 2, 96)
    operands = h.astype("float32"), *others
    axes = sharded_ops.mesh(*sizes)
    specs = [P("data"), P(), P(), P("model"), P("data")]
    placed = sharded_ops.place(axes, specs, operands)
    return sharded_ops.compare(
        test_values.step, operands, placed, axes, batch="data", heads="model"
    )

print(json.dumps([compared(*sizes) for sizes in ((2, 1), (1, 2), (2, 2))]))
"""


def test_parts_of_the_batch_and_of_the_vocabulary_equal_the_whole():
    from clinometer.tests.kernels import sharded_ops

    found = child.printed(child.run(SHARDED, XLA_FLAGS=sharded_ops.FLAGS))
    for result in found:
        assert result["error"] < 2e-5, result
    assert not found[0]["gathers"] and found[0]["same_flops"]


def test_flops_are_those_of_the_products():
    batch, length, width, components, vocabulary = BASE
    rows = batch * length * components
    products = 2 * rows * width * (vocabulary + width + 1)
    given = shapes(*BASE)
    assert cost.count_flops(mixture_of_softmaxes, *given) == products
    assert cost.count_flops(gradients, *given) == 3 * products
