"""Tests the interpreted TPU kernels of relative attention: values, forms, blocks."""

import functools

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import kernels
from clinometer.kernels import relative_attention
from clinometer.kernels.relative_attention import AttentionBlocks
from clinometer.kernels.relative_attention import api
from clinometer.kernels.relative_attention import blocks
from clinometer.kernels.relative_attention import tpu
from clinometer.tests.kernels.relative_attention import numpy_attention

SMALL = AttentionBlocks(query=128, key=128)


def interpreted(function, *args, chip="TPU v5e", block_sizes=()):
    """Runs on a simulated TPU, where races and reads of unwritten memory show.

    Not under jit: interpreted kernels share one memory, so each is its own program.
    """
    params = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
    with (
        kernels.interpret(params),
        kernels.target(chip),
        kernels.block_sizes(block_sizes),
        jax.default_matmul_precision("highest"),
    ):
        return jax.block_until_ready(function(*args))


def draw(batch, queries, keys, heads, width, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(batch, n, heads, width) for n in (queries, keys, keys)]
    arrays = [rng.normal(size=shape) for shape in (*shapes, (heads, 32))]
    arrays[0] *= width**-0.5
    return arrays, rng.normal(size=shapes[0])


def truth(arrays, weight, **settings):
    """Output and gradients, in float64 NumPy, from the definition."""
    query, key, value = arrays[:3]
    table = arrays[3] if len(arrays) > 3 else None
    batch, queries, heads, _ = query.shape
    keys = key.shape[1]
    names = ("causal", "query_offset", "key_mask", "query_segments", "key_segments")
    causal, offset, key_mask, *segments = (settings.get(name) for name in names)
    offset = offset or 0
    allowed = numpy_attention.mask(
        batch, queries, keys, causal, offset, key_mask, *segments
    )[:, None]
    logits = np.einsum("bthd,bshd->bhts", query, key)
    distances = np.arange(keys) - (np.arange(queries)[:, None] + offset)
    if table is not None:
        logits += numpy_attention.bias(table, queries, keys, offset, not causal)
    weights = np.where(allowed, logits, -1e9)
    weights = np.exp(weights - weights.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    output = np.einsum("bhts,bshd->bthd", weights, value)
    weights_grad = np.einsum("bthd,bshd->bhts", weight, value)
    mean = np.einsum("bthd,bthd->bht", weight, output)[..., None]
    logits_grad = np.where(allowed, weights * (weights_grad - mean), 0.0)
    gradients = [
        np.einsum("bhts,bshd->bthd", logits_grad, key),
        np.einsum("bhts,bthd->bshd", logits_grad, query),
        np.einsum("bhts,bthd->bshd", weights, weight),
    ]
    if table is not None:
        table_grad = np.zeros_like(table)
        for distance in np.unique(distances):
            bucket = numpy_attention.bucket(distance, not causal)
            there = distances == distance
            table_grad[:, bucket] += logits_grad[..., there].sum((0, 2))
        gradients.append(table_grad)
    return output, gradients


def check(arrays, weight, dtype="float32", chip="TPU v5e", block_sizes=(), **settings):
    """Checks output and all gradients of the public function."""
    inputs = [jnp.asarray(x, dtype) for x in arrays[:3]]
    inputs += [jnp.asarray(x, jnp.float32) for x in arrays[3:]]
    exact = [np.asarray(x, np.float64) for x in inputs]
    masks = {
        name: jnp.asarray(settings.pop(name))
        for name in ("query_offset", "key_mask", "query_segments", "key_segments")
        if name in settings
    }

    call = functools.partial(
        relative_attention, **masks, **settings, implementation="tpu"
    )

    def function(*inputs):
        output, pull = jax.vjp(call, *inputs)
        return output, *pull(jnp.asarray(weight, jax.block_until_ready(output).dtype))

    got = interpreted(function, *inputs, chip=chip, block_sizes=block_sizes)
    masks = {name: np.asarray(x) for name, x in masks.items()}
    want_output, want = truth(exact, weight, **settings, **masks)
    error = 2e-5 if dtype == "float32" else 0.02
    # With one key the gradients of logits are differences of equal products of these
    # rows: nothing remains but the rounding of float32.
    rows = [np.linalg.norm(x, axis=-1).max() for x in (weight, exact[2], exact[1])]
    rounding = np.finfo(np.float32).eps * np.prod(rows)
    for x, expected in zip(got, (want_output, *want), strict=True):
        scale = np.abs(expected).max() + 1e-3
        np.testing.assert_allclose(
            np.asarray(x, np.float64),
            expected,
            rtol=error,
            atol=error * scale + rounding,
        )


@pytest.mark.slow
def test_encoder_of_any_length():
    check(*draw(1, 7, 130, 3, 24))


@pytest.mark.slow
def test_causal_with_padding_and_a_query_without_keys():
    arrays, weight = draw(2, 70, 70, 2, 64)
    key_mask = np.arange(70) < np.array([[70], [0]])
    check(arrays, weight, causal=True, key_mask=key_mask, chip="TPU v4")


@pytest.mark.slow
def test_blocks_with_a_running_maximum():
    arrays, weight = draw(1, 140, 200, 1, 128)
    check(arrays, weight, causal=True, query_offset=30, block_sizes=SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("chip", ["TPU v4", "TPU v5e"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((2, 1, 1, 1, 64), {}),
        ((1, 64, 64, 8, 64), {"causal": True}),
        ((1, 127, 300, 2, 64), {}),
        ((1, 300, 127, 3, 32), {"causal": True}),
        ((2, 200, 200, 2, 128), {"causal": True}),
        ((1, 40, 60, 2, 256), {}),
    ],
)
def test_shapes(shape, settings, dtype, chip):
    arrays, weight = draw(*shape)
    check(arrays, weight, dtype, chip, **settings)
    check(arrays[:3], weight, dtype, chip, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("block_sizes", [(), SMALL])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["mask", "segments", "both"])
def test_masks_and_segments(kind, causal, block_sizes):
    arrays, weight = draw(3, 150, 150, 2, 64)
    rng = np.random.default_rng(1)
    key_mask = rng.random((3, 150)) < 0.7
    key_mask[2] = False  # no key at all: the mean of all values
    segments = np.sort(rng.integers(0, 4, size=(3, 150)), axis=1)
    masks = {}
    if kind != "segments":
        masks["key_mask"] = key_mask
    if kind != "mask":
        masks["query_segments"] = masks["key_segments"] = segments
    check(arrays, weight, causal=causal, block_sizes=block_sizes, **masks)


@pytest.mark.slow
@pytest.mark.parametrize("num_keys", [400, 200])
@pytest.mark.parametrize("masked", [False, True])
def test_tiles_on_the_diagonal(masked, num_keys):
    """Of several products of queries and of keys, and with padding of both."""
    arrays, weight = draw(2, 400, num_keys, 2, 64)
    settings = {}
    if masked:
        # The first queries have no key: theirs is the mean of all values.
        settings["key_mask"] = np.arange(num_keys) >= np.array([[0], [40]])
    check(arrays, weight, causal=True, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("offset", [-160, -5, 0, 77, 250])
@pytest.mark.parametrize("block_sizes", [(), SMALL])
def test_query_offsets_are_traced(offset, block_sizes):
    arrays, weight = draw(2, 150, 260, 2, 64)
    settings = {"query_offset": offset, "block_sizes": block_sizes}
    check(arrays, weight, causal=True, **settings)


@pytest.mark.slow
def test_blocks_of_queries_and_keys():
    arrays, weight = draw(2, 300, 400, 2, 64)
    for sizes in (
        SMALL,
        AttentionBlocks(query=256, key=128, batch=2),
        AttentionBlocks(key=256),
    ):
        check(arrays, weight, block_sizes=sizes)
        check(arrays, weight, causal=True, block_sizes=sizes)


@pytest.mark.slow
@pytest.mark.parametrize("axes", [(0, None, None, None), (None, 1, 2, 0)])
def test_vmap_equals_a_loop(axes):
    arrays, _ = draw(2, 20, 20, 2, 32)
    operands = [
        jnp.asarray(x if axis is None else np.stack([x, 2 * x, -x], axis), jnp.float32)
        for x, axis in zip(arrays, axes, strict=True)
    ]

    weight = jnp.asarray(np.random.default_rng(3).normal(size=(3, 2, 20, 2, 32)))

    def gradients(*operands, implementation):
        call = functools.partial(
            relative_attention, causal=True, implementation=implementation
        )
        output, pull = jax.vjp(jax.vmap(call, in_axes=axes), *operands)
        return output, pull(jax.block_until_ready(weight.astype(output.dtype)))

    got = interpreted(functools.partial(gradients, implementation="tpu"), *operands)
    want = gradients(*operands, implementation="reference")
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("masked", [False, True])
def test_residuals_are_those_of_the_reference(masked):
    """Forward and backward may be of different implementations."""
    arrays, _ = draw(2, 30, 50, 1, 64)
    bias = np.random.default_rng(2).normal(size=(1, 1, 79))
    arrays = [jnp.asarray(x, jnp.float32) for x in (*arrays[:3], bias)]
    segments = [jnp.asarray([[0] * n, [1] * n]) for n in (30, 50)]
    segments[1] = segments[1].at[1].set(2)  # the second's queries attend to nothing
    arrays += [*segments, jnp.zeros(1, jnp.int32), jnp.zeros((1, 0, 0, 0))]
    settings = {"causal": False, "masked": masked, "groups": 1}
    got = interpreted(api.FORWARD.function("tpu", settings), *arrays)
    want = api.FORWARD.function("reference", settings)(*arrays)
    for a, b in zip(got, want, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def lowered(function, *shapes, chip="TPU v5e"):
    with kernels.target(chip):
        traced = jax.jit(function).trace(*shapes)
        return traced.lower(lowering_platforms=("tpu",)).as_text()


@pytest.mark.parametrize("chip", ["TPU v4", "TPU v5e"])
@pytest.mark.parametrize("causal", [False, True])
def test_lowers_for_tpu_without_one(causal, chip):
    x = jax.ShapeDtypeStruct((1, 200, 2, 64), jnp.bfloat16)
    table = jax.ShapeDtypeStruct((2, 32), jnp.float32)
    mask = jax.ShapeDtypeStruct((1, 200), jnp.bool)

    def loss(q, k, v, table, mask):
        output = relative_attention(
            q, k, v, table, causal=causal, key_mask=mask, implementation="tpu"
        )
        return output.astype(jnp.float32).sum()

    text = lowered(jax.grad(loss, (0, 1, 2, 3)), x, x, x, table, mask, chip=chip)
    assert text.count("tpu_custom_call") == 2
    assert "200x200x" not in text


def test_choices_on_a_tpu():
    def found(queries, chip="TPU v5e", **settings):
        q = jax.ShapeDtypeStruct((1, queries, 2, 64), jnp.bfloat16)
        k = jax.ShapeDtypeStruct((1, 300, 2, 64), jnp.bfloat16)
        call = functools.partial(relative_attention, **settings)
        with kernels.target(chip):
            (choice,) = kernels.choices(call, q, k, k, platform="tpu")
        return choice

    assert found(300).implementation == "tpu"
    assert found(300, "TPU v3").implementation == "reference"
    one = found(1)
    assert one.implementation == "reference"
    assert one.passed_over == ("tpu: it pads 1 queries to 128, and XLA does not",)
    own = {"dropout_rate": 0.1, "dropout_key": jax.random.key(0)}
    (reason,) = found(300, broadcast_dropout=False, **own).passed_over
    assert "needs all weights at once" in reason


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"query": 100}, r"query: got 100, accepted are multiples of 128 up to 256"),
        ({"key": 384}, r"key: got 384, accepted are multiples of 128 up to 256"),
        ({"batch": 3}, r"batch: got 3, accepted is a divisor of 4"),
    ],
)
def test_block_sizes_that_do_not_fit(sizes, message):
    x = jax.ShapeDtypeStruct((4, 200, 2, 64), jnp.bfloat16)
    call = functools.partial(relative_attention, implementation="tpu")
    with (
        kernels.block_sizes(AttentionBlocks(**sizes)),
        pytest.raises(ValueError, match=message),
    ):
        lowered(call, x, x, x)


def test_blocks_that_need_too_much_memory():
    x = jax.ShapeDtypeStruct((1, 8192, 2, 64), jnp.float32)
    call = functools.partial(relative_attention, implementation="tpu")
    with (
        kernels.block_sizes(AttentionBlocks(query=8192, key=8192)),
        pytest.raises(ValueError, match=r"query=8192, key=8192.* TPU v4 has 16"),
    ):
        lowered(call, x, x, x, chip="TPU v4")


@pytest.mark.parametrize(
    ("kernel", "implementation"),
    [(api.FORWARD, tpu.FORWARD), (api.BACKWARD, tpu.BACKWARD)],
)
@pytest.mark.parametrize(("length", "part"), [(512, 10 / 16), (1024, 36 / 64)])
def test_no_tile_above_the_diagonal_is_worked_on(kernel, implementation, length, part):
    """Of n x n tiles of 128 queries and keys, n (n + 1) / 2 are left."""
    x = jax.ShapeDtypeStruct((1, length, 2, 64), jnp.bfloat16)
    shapes = dict.fromkeys(("query", "key", "value", "output", "output_grad"), x)
    shapes |= {
        "bias": jax.ShapeDtypeStruct((1, 2, 2 * length - 1), jnp.float32),
        "query_segments": jax.ShapeDtypeStruct((1, length), jnp.int32),
        "key_segments": jax.ShapeDtypeStruct((1, length), jnp.int32),
        "offset": jax.ShapeDtypeStruct((1,), jnp.int32),
        "multiplier": jax.ShapeDtypeStruct((1, 0, 0, 0), jnp.float32),
        "log_sum_exp": jax.ShapeDtypeStruct((1, 2, length), jnp.float32),
    }
    operands = {name: shapes[name] for name in kernel.signature.operands}
    causal, square = (
        implementation.executed_flops(
            **operands, causal=is_causal, masked=False, groups=1
        )
        for is_causal in (True, False)
    )
    assert causal == part * square


def test_blocks_are_chosen_by_shape():
    choose = functools.partial(blocks.choose, batch=8, heads=2, shares_bias=True)

    def chosen(pass_name, queries, keys, causal=False, **more):
        found = choose(
            pass_name, num_queries=queries, num_keys=keys, causal=causal, **more
        )
        return found.query, found.key, found.batch

    assert chosen("forward", 512, 512) == (512, 512, 4)
    assert chosen("forward", 512, 512, shares_bias=False) == (512, 512, 1)
    assert chosen("forward", 2048, 2048) == (512, 2048, 1)
    assert chosen("forward", 4000, 4100) == (512, 1408, 1)
    assert chosen("forward", 1024, 1024, causal=True) == (1024, 1024, 1)
    assert chosen("forward", 2048, 2048, causal=True) == (1024, 1024, 1)
    assert chosen("backward", 512, 512) == (512, 512, 2)
    assert chosen("backward", 2048, 2048, causal=True) == (1024, 1024, 1)
    assert chosen("backward", 2048, 2048, heads=4) == (512, 1024, 1)
    assert chosen("backward", 2048, 2048, smaller=2) == (512, 512, 1)
