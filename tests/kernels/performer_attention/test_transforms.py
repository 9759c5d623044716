"""Tests Performer attention under transformations, its declarations and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import NotSupportedError
from clinometer.kernels import choices
from clinometer.kernels import performer_attention
from clinometer.kernels import performer_state
from clinometer.kernels import performer_step
from clinometer.kernels.cpu import native
from clinometer.kernels.performer_attention import api
from clinometer.tests.kernels.performer_attention import dense

# The rule of `vmap` is the primitive's, not the implementation's: one is enough.
IMPLEMENTATIONS = (pytest.param("reference", marks=pytest.mark.slow), "cpu")


def shape(*dims, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(dims, dtype)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("causal", "axes"), [(True, (0, 2, None, 0)), (False, (None, 0, 1, None))]
)
def test_vmap_equals_a_loop(implementation, causal, axes):
    arrays = dense.draw(0, 3 * 2, 17, 17, 2, 2, 8)
    mask = np.random.default_rng(1).random((6, 17)) < 0.7
    mask[:, 0] = True
    operands = []
    for x, axis in zip((*arrays[:3], mask), axes, strict=True):
        x = x.reshape(3, 2, *x.shape[1:])
        operands.append(x[0] if axis is None else np.moveaxis(x, 0, axis))
    gradient = arrays[3].reshape(3, 2, 17, 2, 8)

    def attend(query, key, value, key_mask):
        return performer_attention(
            query,
            key,
            value,
            causal=causal,
            key_mask=key_mask,
            implementation=implementation,
        )

    def mapped(*operands):
        return jax.vmap(attend, in_axes=axes)(*operands)

    def looped(*operands):
        def pick(i):
            pairs = zip(operands, axes, strict=True)
            return (x if a is None else jnp.take(x, i, axis=a) for x, a in pairs)

        return jnp.stack([attend(*pick(i)) for i in range(3)])

    def value_and_grads(function):
        def loss(*operands):
            output = function(*operands)
            return jnp.sum(output * gradient), output

        differentiate = jax.grad(loss, (0, 1, 2), has_aux=True)
        return jax.tree.leaves(jax.jit(differentiate)(*operands))

    pairs = zip(value_and_grads(mapped), value_and_grads(looped), strict=True)
    for got, want in pairs:
        np.testing.assert_allclose(got, want, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_remat_in_a_scan_over_layers(implementation):
    x, weights, _, _ = dense.draw(2, 2, 9, 9, 2, 2, 8)
    weights = jnp.asarray(weights[0, :3, 0]).reshape(3, 1, 1, 1, 8)

    def layer(x, weight):
        out = performer_attention(
            x * weight, x, x, causal=True, implementation=implementation
        )
        return x + out, None

    def scanned(x, weights):
        return jnp.sum(jax.lax.scan(jax.checkpoint(layer), x, weights)[0] ** 2)

    def unrolled(x, weights):
        for i in range(3):
            x, _ = layer(x, weights[i])
        return jnp.sum(x**2)

    got, want = (jax.jit(jax.grad(f, (0, 1)))(x, weights) for f in (scanned, unrolled))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4)


def test_steps_equal_the_causal_form():
    query, key, value, _ = dense.draw(3, 2, 40, 40, 3, 3, 8)

    def decode(query, key, value):
        def step(state, x):
            output, state = performer_step(state, *x, epsilon=0.1)
            return state, output

        by_position = [jnp.swapaxes(x, 0, 1) for x in (query, key, value)]
        _, outputs = jax.lax.scan(step, performer_state(2, 3, 8), by_position)
        return jnp.swapaxes(outputs, 0, 1)

    whole = dense.attend(query, key, value, causal=True, epsilon=0.1)
    np.testing.assert_allclose(jax.jit(decode)(query, key, value), whole, atol=1e-5)
    with pytest.raises(ValueError, match=r"performer_step: key: must be \(2, 3, 8\)"):
        performer_step(performer_state(2, 3, 8), query[:, 0], key, value[:, 0])


def test_second_derivatives_are_refused():
    query, key, value, _ = dense.draw(4, 1, 4, 4, 1, 1, 4)

    def loss(query):
        return jnp.sum(performer_attention(query, key, value))

    with pytest.raises(NotImplementedError, match="performer_attention: only first"):
        jax.grad(lambda q: jnp.sum(jax.grad(loss)(q) ** 2))(query)


def test_choices_and_costs():
    operands = (shape(2, 10, 4, 8), shape(2, 6, 2, 8), shape(2, 6, 2, 8))

    def taken(platform, **settings):
        def attend(*operands):
            return performer_attention(*operands, **settings)

        return [x.implementation for x in choices(attend, *operands, platform=platform)]

    assert taken("cpu") == ["cpu"]
    assert taken("tpu") == ["tpu"]
    assert taken("cuda") == ["reference"]
    assert taken("cpu", implementation=("tpu", "reference")) == ["reference"]

    operands = (shape(1, 4, 1, 160),) * 3
    assert taken("cpu", causal=True) == ["cpu"]
    assert taken("cpu") == ["reference"]
    with pytest.raises(NotSupportedError, match="cpu: bidirectional heads wider"):
        taken("cpu", implementation="cpu")

    query, key = shape(2, 10, 4, 8), shape(2, 6, 4, 8)
    mask, denominator = shape(1, 0), shape(2, 4, 10)
    settings = {"causal": False, "epsilon": 1e-3}
    forward = {"query": query, "key": key, "value": key, "mask": mask}
    more = {"output": query, "denominator": denominator, "output_grad": query}
    backward = forward | more
    # Two multiply-adds for each entry of a D x D state: to write it and to read it.
    flops = 2 * (2 * 4 * (10 + 6) * 8 * 8)
    assert api.FORWARD.cost(forward, settings).flops == flops
    assert api.BACKWARD.cost(backward, settings).flops == 2 * flops
    size = 4 * (2 * 4 * 8 * (10 + 6 + 6 + 10) + 2 * 4 * 10)
    assert api.FORWARD.cost(forward, settings).bytes == size
    run = api.FORWARD.implementations["cpu"].executed_flops
    assert run(**forward, **settings) == flops
    run = api.BACKWARD.implementations["cpu"].executed_flops
    assert run(**backward, **settings) == 2 * 2 * 4 * (2 * 10 + 3 * 6) * 64
    causal = {"causal": True, "epsilon": 1e-3}
    square = forward | {"key": query, "value": query}
    declared = api.FORWARD.cost(square, causal).flops
    assert run(**square, **more, **causal) == 3 * declared


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("causal", [False, True])
def test_memory_grows_with_the_length_only(implementation, causal):
    def loss(*operands):
        output = performer_attention(
            *operands, causal=causal, implementation=implementation
        )
        return jnp.sum(output**2)

    def memory(length):
        x = shape(1, length, 1, 16)
        compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(x, x, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    short, long = memory(2048), memory(8192)
    assert long <= 4.5 * short
    if implementation == "cpu":
        # Output, denominator and the output's gradient: no state, no scores.
        assert long <= 8192 * 4 * (2 * 16 + 1) + 4096


@pytest.mark.parametrize(
    ("shapes", "settings", "message"),
    [
        ([(2, 4, 8)] + 2 * [(2, 4, 2, 8)], {}, "query: must be .batch, length, heads"),
        ([(2, 4, 3, 8)] + 2 * [(2, 4, 2, 8)], {}, "2 heads, which must divide the 3"),
        ([(2, 4, 2, 8), (2, 4, 2, 8), (2, 5, 2, 8)], {}, "value: must be"),
        ([(2, 4, 2, 8)] + 2 * [(2, 4, 2, 7)], {}, r"key: must be \(2, 4, 2, 8\)"),
        ([(2, 0, 2, 8)] * 3, {}, "query: has an empty axis"),
        ([(2, 4, 2, 8)] + 2 * [(2, 5, 2, 8)], {"causal": True}, "4 queries and 5 keys"),
        ([(2, 4, 2, 8)] * 3, {"epsilon": -1.0}, "epsilon: must be finite and >= 0"),
        ([(2, 4, 2, 8)] * 3, {"epsilon": np.nan}, "epsilon: must be finite and >= 0"),
        ([(2, 4, 2, 8)] * 3, {"key_mask": np.ones((2, 5), bool)}, "key_mask: must be"),
        ([(2, 4, 2, 8)] * 3, {"key_mask": np.ones((2, 4))}, "key_mask: must be bool"),
        ([(2, 4, 2, 8)] * 3, {"implementation": "gpu"}, "implementation: got 'gpu'"),
    ],
)
def test_bad_input_is_named(shapes, settings, message):
    arrays = [jnp.zeros(x) for x in shapes]
    with pytest.raises(ValueError, match=f"performer_attention: .*{message}"):
        performer_attention(*arrays, **settings)


@pytest.mark.parametrize(
    "dtypes", [("float16",) * 3, ("float32", "bfloat16", "float32")]
)
def test_other_dtypes_are_refused(dtypes):
    arrays = [jnp.zeros((1, 2, 1, 4), dtype) for dtype in dtypes]
    with pytest.raises(
        ValueError, match="must be float32 or bfloat16|of query's dtype"
    ):
        performer_attention(*arrays)


@pytest.mark.parametrize(
    ("key", "mask", "output", "message"),
    [
        ((2, 5, 1, 4), (1, 0), (2, 5, 2, 4), "performer_attention: key"),
        ((2, 6, 2, 4), (1, 0), (2, 5, 2, 4), "causal needs as many queries as keys"),
        ((2, 5, 2, 4), (2, 4), (2, 5, 2, 4), "performer_attention: mask"),
        ((2, 5, 2, 4), (1, 0), (2, 5, 2, 3), "performer_attention: output"),
    ],
)
def test_the_handler_checks_shapes_itself(key, mask, output, message):
    results = (shape(*output), shape(2, 2, 5))
    operands = [jnp.zeros(x) for x in ((2, 5, 2, 4), key, key, mask)]
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        made = native.call(
            "performer_attention_forward", results, *operands, causal=True, epsilon=0.1
        )
        jax.block_until_ready(made)


def test_the_backward_handler_checks_shapes_itself():
    x = jnp.zeros((2, 5, 2, 4))
    operands = [x, x, x, jnp.zeros((1, 0)), x, jnp.zeros((2, 2, 6)), x]
    with pytest.raises(jax.errors.JaxRuntimeError, match="attention: denominator"):
        made = native.call(
            "performer_attention_backward",
            [shape(*x.shape)] * 3,
            *operands,
            causal=False,
            epsilon=0.1,
        )
        jax.block_until_ready(made)
