"""Tests the interpreted TPU kernels of `expert_feed_forward` against float64 NumPy."""

import importlib.util

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import kernels
from clinometer.kernels import ExpertBlocks
from clinometer.kernels import expert_feed_forward
from clinometer.kernels.switch import expert_blocks
from clinometer.kernels.switch import feed_forward
from clinometer.kernels.tpu import chips
from clinometer.tests.kernels import child
from clinometer.tests.kernels.switch import truth

STRICT = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
SETTINGS = {"num_tokens": 20, "groups": 1}


def step(x, wi, wo, counts, y_grad):
    """Returns y and all gradients."""

    def run(x, wi, wo):
        return expert_feed_forward(
            x, wi, wo, counts, num_tokens=20, implementation="tpu"
        )

    with kernels.interpret(STRICT), kernels.target("TPU v5e"):
        y, pull = jax.vjp(run, x, wi, wo)
        return y, *pull(y_grad)


# Groups, experts, capacity, width, hidden width; columns of a block; pieces.
CASES = [
    pytest.param((1, 2, 16, 16, 128), 128, 1, marks=pytest.mark.slow),
    ((3, 2, 13, 24, 40), 40, 1),
    ((2, 3, 5, 16, 256), 128, 1),
    ((4, 2, 5, 16, 256), 128, 2),
    pytest.param((1, 2, 40, 130, 384), 128, 1, marks=pytest.mark.slow),
    pytest.param((5, 2, 8, 8, 16), 16, 1, marks=pytest.mark.slow),
    pytest.param((3, 2, 13, 8, 16), 16, 3, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("shape", "hidden", "pieces"), CASES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_values_and_gradients(shape, hidden, pieces, dtype):
    operands = truth.feed_forward_operands(shape, dtype)
    with kernels.block_sizes(ExpertBlocks(hidden=hidden, pieces=pieces)):
        found = step(*operands)
    truth.compare_feed_forward(found, operands)


def test_what_empty_slots_hold_has_no_effect():
    x, wi, wo, counts, y_grad = truth.feed_forward_operands(
        (2, 2, 5, 8, 16), jnp.float32
    )
    counts[0, 1] = 3
    empty = (np.arange(x.shape[2]) >= counts[..., None])[..., None]
    # A hidden column that is 0 after the ReLU in all rows: also in empty ones, where
    # zeros times the weights are NaN.
    x = x.at[..., 0].set(jnp.abs(x[..., 0]) + 1)
    wi = wi.at[0, 0, 0].set(-jnp.inf)
    y, x_grad, wi_grad, wo_grad = step(
        jnp.where(empty, jnp.nan, x), wi, wo, counts, jnp.where(empty, jnp.nan, y_grad)
    )
    for rows in (y, x_grad):
        assert not np.any(np.asarray(rows)[empty[..., 0]])
    want = truth.feed_forward(x, wi.at[0, 0, 0].set(-1e9), wo, counts, y_grad)
    for a, b in zip((y, wi_grad, wo_grad), (want[0], *want[2:]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_nan_of_one_row_stays_there():
    x, wi, wo, counts, y_grad = truth.feed_forward_operands(
        (2, 2, 5, 8, 16), jnp.float32
    )
    counts[:] = 4
    y, x_grad, wi_grad, wo_grad = step(
        x.at[1, 0, 2, 3].set(jnp.nan), wi, wo, counts, y_grad
    )
    assert np.argwhere(np.isnan(y).any(-1)).tolist() == [[1, 0, 2]]
    # No hidden value of the row is above 0, so none passes its gradient on.
    assert not np.any(np.isnan(x_grad)) and not np.any(x_grad[1, 0, 2])
    for grad in (wi_grad, wo_grad):
        assert not np.any(np.isnan(grad[1]))
    assert np.all(np.isnan(wo_grad[0]))


@pytest.mark.parametrize(
    "mapped", [(0,), pytest.param((0, 1, 2), marks=pytest.mark.slow)]
)
def test_vmap_equals_a_loop(mapped):
    shape = (2, 2, 5, 8, 16)
    x, wi, wo, counts, y_grad = truth.feed_forward_operands(shape, jnp.float32)
    given = [
        jnp.stack([a, jnp.flip(a, -1)]) if i in mapped else a
        for i, a in enumerate((x, wi, wo))
    ]
    axes = [0 if i in mapped else None for i in range(3)]
    found = jax.vmap(lambda *a: step(*a, counts, y_grad), axes)(*given)
    for i in range(2):
        one = [a[i] if k in mapped else a for k, a in enumerate(given)]
        operands = (*one, counts, y_grad)
        truth.compare_feed_forward([a[i] for a in found], operands)


def test_hidden_rows_are_not_returned_and_their_substitute_would_be_seen():
    x, wi, wo, counts, y_grad = truth.feed_forward_operands(
        (1, 2, 5, 8, 16), jnp.float32
    )
    operands = {"x": x, "wi": wi[None], "wo": wo[None], "counts": jnp.asarray(counts)}
    operands |= feed_forward.draws(None, 0.0, (1, 2, 5, 16))
    settings = SETTINGS | {"num_experts": 2, "dropout_rate": 0.0}
    with kernels.interpret(STRICT), kernels.target("TPU v5e"):
        run = feed_forward.FORWARD.function("tpu", settings)
        _, hidden = run(*operands.values())
    assert np.all(np.isneginf(hidden))
    run = feed_forward.BACKWARD.function("reference", settings)
    *_, wo_grad = run(*operands.values(), hidden, y_grad)
    assert not np.any(np.isfinite(wo_grad[0, 0]))


@pytest.mark.parametrize("hidden", [0, 100, 640])
def test_block_sizes_that_do_not_fit_are_named(hidden):
    operands = truth.feed_forward_operands((1, 2, 5, 8, 384), jnp.float32)
    with (
        kernels.block_sizes(ExpertBlocks(hidden=hidden)),
        pytest.raises(ValueError, match=f"hidden: got {hidden}; accepted are 384, 128"),
    ):
        step(*operands)


def test_pieces_that_do_not_divide_the_groups_are_named():
    operands = truth.feed_forward_operands((6, 2, 5, 8, 128), jnp.float32)
    with (
        kernels.block_sizes(ExpertBlocks(hidden=128, pieces=4)),
        pytest.raises(ValueError, match="pieces: got 4; accepted are 1, 2, 3, 6"),
    ):
        step(*operands)


def test_many_rows_are_divided_into_pieces():
    chip = chips.CHIPS["v5e"]
    x, wi = jnp.empty((32, 2, 80, 768), jnp.bfloat16), jnp.empty((1, 2, 768, 3072))
    for pass_name, rows in (("forward", 320), ("backward", 1280)):
        found = expert_blocks.choose(chip, pass_name, x, wi, 1, True)
        assert found.rows == rows and found.parts * found.pieces == 32
        assert found.vmem_bytes(pass_name) <= 40 << 20
        few = expert_blocks.choose(chip, pass_name, x[:4], wi, 1, True)
        assert (few.parts, few.pieces) == (4, 1)
        one = jnp.empty((1, 2, 1000, 768), jnp.bfloat16)
        assert expert_blocks.choose(chip, pass_name, one, wi, 1, True).pieces == 1


@pytest.mark.parametrize(
    ("kind", "shape", "reason"),
    [
        ("TPU v3", (1, 2, 5, 8, 16), "TPU v3: its compiler refuses"),
        ("TPU v4", (1, 2, 6400, 512, 2048), "6400 rows of a group and expert, of"),
        ("TPU v5e", (1, 2, 160, 8192, 8200), "8200 hidden columns need about"),
        ("TPU v5e", (1 << 9, 1 << 8, 1, 8, 8), "up to 65536 experts of all groups"),
    ],
)
def test_both_passes_are_left_to_xla_for_one_reason(kind, shape, reason):
    groups, num_experts, capacity, width, hidden = shape
    shapes = [
        jax.ShapeDtypeStruct(s, jnp.bfloat16)
        for s in (
            (groups, num_experts, capacity, width),
            (num_experts, width, hidden),
            (num_experts, hidden, width),
        )
    ]
    counts = jax.ShapeDtypeStruct(shape[:2], jnp.int32)

    def loss(x, wi, wo, counts):
        y = expert_feed_forward(x, wi, wo, counts, num_tokens=20)
        return jnp.sum(y.astype(jnp.float32))

    with kernels.target(kind):
        found = kernels.choices(
            jax.grad(loss, (0, 1, 2)), *shapes, counts, platform="tpu"
        )
    assert [c.pass_name for c in found] == ["forward", "backward"]
    assert {c.implementation for c in found} == {"reference"}
    assert all(reason in c.passed_over[0] for c in found)


COMPILED = """
import json, re
import jax, jax.numpy as jnp
from jax.experimental import topologies
from clinometer import kernels
from clinometer.kernels.tpu import chips

chip = chips.CHIPS["v5e"]
device = topologies.get_topology_desc(chip.topology, "tpu").devices[0]
on = jax.sharding.SingleDeviceSharding(device)

def shape(*sizes, dtype=jnp.bfloat16):
    return jax.ShapeDtypeStruct(sizes, dtype, sharding=on)

def loss(layers, x, counts, keys):
    def layer(x, layer):
        weights, key = layer
        y = kernels.expert_feed_forward(
            x, *weights, counts, num_tokens=100, dropout_rate=RATE, dropout_key=key
        )
        return x + y, None
    x, _ = jax.lax.scan(layer, x, (layers, keys))
    return jnp.sum(x.astype(jnp.float32) ** 2)

layers = shape(3, 4, 128, 640), shape(3, 4, 640, 128)
keys = shape(3, 2, dtype=jnp.uint32)
with kernels.target(chip.device_kind):
    given = layers, shape(2, 4, 40, 128), shape(2, 4, dtype=jnp.int32), keys
    lowered = jax.jit(jax.grad(loss)).lower(*given)
text = lowered.compile().as_text()
print(json.dumps([text.count("tpu_custom_call"), re.findall(r"40,640\\]", text)]))
"""


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)
@pytest.mark.parametrize("rate", [pytest.param(0.0, marks=pytest.mark.slow), 0.1])
def test_no_hidden_rows_are_stored_when_layers_are_scanned(rate):
    """Nor a mask of them."""
    here = {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TPU_SKIP_MDS_QUERY": "1"}
    here |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}  # libtpu knows fewer flags.
    calls, hidden = child.printed(child.run(f"RATE = {rate}\n{COMPILED}", **here))
    assert calls == 2  # one in the loop over layers, and one in that of the gradients
    assert not hidden
