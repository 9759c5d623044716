"""The Switch layer against float64 NumPy, and its invariants."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import kernels
from clinometer.models import config
from clinometer.models.layers import feed_forward
from clinometer.models.layers import switch_ffn
from clinometer.tests.kernels.switch import truth

BATCH, LENGTH, WIDTH, D_FF, EXPERTS = 3, 16, 8, 12, 4


def transform(d_ff=D_FF, num_experts=EXPERTS, **settings):
    def forward(*args, **modes):
        module = switch_ffn.SwitchFFN(d_ff, num_experts, name="ffn", **settings)
        return module(*args, **modes)

    return hk.without_apply_rng(hk.transform(forward))


def run(params, *args, exact=False, is_training=None, **settings):
    function = transform(**settings)

    def apply(*args):
        return function.apply(*args, exact=exact, is_training=is_training)

    return jax.jit(apply)(params, *args)


@pytest.fixture
def x():
    return np.float32(truth.normal(0, BATCH, LENGTH, WIDTH))


@pytest.fixture
def params():
    return make_params(EXPERTS)


def make_params(num_experts):
    return {
        "ffn": {
            "router": np.float32(truth.normal(1, WIDTH, num_experts)),
            "wi": np.float32(truth.normal(2, num_experts, WIDTH, D_FF)),
            "wo": np.float32(truth.normal(3, num_experts, D_FF, WIDTH)),
        }
    }


def definition(params, x, mask, capacity, tokens_per_group):
    """Computes output, route and dropped tokens per token, in float64."""
    w = {name: np.asarray(leaf, np.float64) for name, leaf in params["ffn"].items()}
    tokens = np.asarray(x, np.float64).reshape(-1, tokens_per_group, x.shape[-1])
    mask = mask.reshape(tokens.shape[:2])
    route = truth.route(tokens @ w["router"], capacity, mask)
    y = np.zeros(tokens.shape)
    for g, n in zip(*np.nonzero(route["slot"] >= 0), strict=True):
        e = route["expert_index"][g, n]
        hidden = np.maximum(tokens[g, n] @ w["wi"][e], 0)
        y[g, n] = route["gate"][g, n] * (hidden @ w["wo"][e])
    dropped = (mask & (route["slot"] < 0)).sum() / mask.sum()
    return y.reshape(x.shape), route, dropped


@pytest.mark.parametrize("implementation", truth.IMPLEMENTATIONS)
def test_equals_the_definition(x, params, implementation):
    """Each sequence is a group; some tokens are padding and some are dropped."""
    mask = np.arange(LENGTH) < np.array([[LENGTH], [9], [12]])
    settings = {"group_size": LENGTH, "z_loss_weight": 0.5}
    settings |= {"eval_capacity_factor": 1.0, "implementation": implementation}
    y, metrics = run(params, x, mask, **settings)
    want, route, dropped = definition(params, x, mask, LENGTH // EXPERTS, LENGTH)
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)
    assert 0 < dropped < 1
    balance = EXPERTS * (route["load"] * route["probability"]).sum(1).mean()
    np.testing.assert_allclose(metrics.aux_loss, 0.01 * balance, rtol=1e-5)
    np.testing.assert_allclose(metrics.z_loss, 0.5 * route["z"].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics.load, route["load"].mean(0), rtol=1e-6)
    np.testing.assert_allclose(metrics.dropped, dropped, rtol=1e-6)


def test_gradients_by_finite_differences(x, params):
    """Tests output, aux loss and z-loss along one direction per parameter and x."""

    def loss(params, x):
        y, metrics = transform(z_loss_weight=0.1).apply(params, x, exact=True)
        weights = jnp.cos(jnp.arange(y.size)).reshape(y.shape)
        return jnp.sum(weights * y) + 100 * metrics.aux_loss + metrics.z_loss

    def value(params, x):
        mask = np.ones((BATCH, LENGTH), bool)
        tokens = BATCH * LENGTH
        y, route, _ = definition(params, x, mask, tokens, tokens)
        balance = EXPERTS * (route["load"] * route["probability"]).sum(1).mean()
        weights = np.cos(np.arange(y.size)).reshape(y.shape)
        return (weights * y).sum() + balance + 0.1 * route["z"].mean()

    grads = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, x)
    leaves, tree = jax.tree.flatten((params, x))
    for i, leaf in enumerate(leaves):
        direction = truth.normal(10 + i, *leaf.shape)

        def moved(size, i=i, direction=direction):
            at = [np.float64(v) for v in leaves]
            at[i] = at[i] + size * direction
            return value(*jax.tree.unflatten(tree, at))

        want = (moved(1e-6) - moved(-1e-6)) / 2e-6
        got = np.sum(direction * jax.tree.leaves(grads)[i])
        np.testing.assert_allclose(got, want, rtol=1e-3)


def test_one_expert_is_the_dense_layer(x):
    params = make_params(1)
    dense = hk.without_apply_rng(
        hk.transform(lambda x: feed_forward.FeedForward(D_FF, name="ffn")(x))
    )
    dense_params = {"ffn": {name: params["ffn"][name][0] for name in ("wi", "wo")}}
    want = jax.jit(dense.apply)(dense_params, x)
    got, metrics = run(params, x, None, jax.random.key(0), num_experts=1)
    np.testing.assert_array_equal(got, want)
    assert metrics.dropped == 0 and metrics.load == 1
    np.testing.assert_allclose(metrics.aux_loss, 0.01, rtol=1e-6)


def test_initialisers():
    def forward(x):
        switch_ffn.SwitchFFN(300, 6, name="ffn")(x)
        switch_ffn.SwitchFFN(300, 6, init_scale=0.1, name="small")(x)

    init = jax.jit(hk.transform(forward).init)
    params = init(jax.random.key(0), jnp.zeros((1, 1, 500)))
    shapes = {"router": (500, 6), "wi": (6, 500, 300), "wo": (6, 300, 500)}
    for name, scale in (("ffn", 1.0), ("small", 0.1)):
        assert {key: leaf.shape for key, leaf in params[name].items()} == shapes
        for kernel in params[name].values():
            kernel = np.asarray(kernel) * (kernel.shape[-2] / scale) ** 0.5
            assert 1.9 < np.abs(kernel).max() <= 2.0001
            assert abs(kernel.std() - 0.8796) < 4 * (2 * kernel.size) ** -0.5


def test_uniform_routing_has_the_least_aux_loss(params):
    """With equal loads and probabilities, the loss is equal to its weight."""
    params["ffn"]["router"] = np.eye(WIDTH, EXPERTS, dtype=np.float32) * 3
    x = np.tile(np.eye(EXPERTS, WIDTH, dtype=np.float32), (BATCH, 4, 1))
    metrics = run(params, x, aux_loss_weight=0.01)[1]
    np.testing.assert_allclose(metrics.aux_loss, 0.01, rtol=1e-6)
    np.testing.assert_allclose(metrics.load, 1 / EXPERTS)
    x[:, :6] = x[:, :1]
    assert run(params, x)[1].aux_loss > 0.0105


def test_capacity_of_training_and_of_evaluation(x, params):
    """All tokens choose expert 0, whose capacity is 5 of 16, 8, or all."""
    params["ffn"]["router"][:] = 0
    key = jax.random.key(0)
    settings = {"group_size": LENGTH, "jitter": 0.0}
    for dropout_key, exact, is_training, kept in (
        (key, False, None, 5),
        (None, False, True, 5),
        (None, False, None, 8),
        (key, False, False, 8),
        (key, True, None, 16),
    ):
        modes = {"exact": exact, "is_training": is_training}
        y, metrics = run(params, x, None, dropout_key, **modes, **settings)
        np.testing.assert_allclose(metrics.dropped, 1 - kept / LENGTH)
        np.testing.assert_array_equal(
            np.any(np.asarray(y) != 0, axis=-1),
            np.broadcast_to(np.arange(LENGTH) < kept, (BATCH, LENGTH)),
        )


def test_exact_routing_takes_each_token_alone(x, params):
    """Other tokens, their order and the groups do not influence a token."""
    whole = run(params, x, exact=True)[0]
    for group_size in (1, 5, 17):  # Parts of a sequence, with padding; sequences.
        parts = run(params, x, exact=True, group_size=group_size)[0]
        np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)
    step = run(params, x[:, 3:4], exact=True)[0]
    np.testing.assert_allclose(step, whole[:, 3:4], rtol=1e-5, atol=1e-5)
    backwards = run(params, x[:, ::-1], exact=True)[0]
    np.testing.assert_allclose(backwards[:, ::-1], whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("batch", "length", "group_size", "sequences", "want"),
    [
        (128, 512, 1024, 0, (64, 1024, 0)),
        (128, 114, 1024, 0, (16, 8 * 114, 0)),
        (7, 512, 1024, 0, (7, 512, 0)),  # 2 sequences do not divide 7.
        (2, 4096, 1024, 0, (8, 1024, 0)),
        (2, 1025, 1024, 0, (4, 513, 1)),
        (8, 1, 1024, 0, (1, 8, 0)),
        (128, 512, 1024, 4, (32, 4 * 512, 0)),
        (128, 114, 1024, 4, (32, 4 * 114, 0)),
        (3, 2000, 1024, 3, (1, 6000, 0)),
    ],
)
def test_groups(batch, length, group_size, sequences, want):
    assert switch_ffn.groups(batch, length, group_size, sequences) == want


def test_sequences_per_group_are_routed_together(x, params):
    """The same as groups of that many tokens, and unlike groups of one sequence."""
    x, settings = x[[0, 1, 2, 0]], {"eval_capacity_factor": 1.0, "jitter": 0.0}
    got = run(params, x, group_size=LENGTH, sequences_per_group=2, **settings)
    want = run(params, x, group_size=2 * LENGTH, **settings)
    other = run(params, x, group_size=LENGTH, **settings)
    np.testing.assert_array_equal(got[0], want[0])
    assert got[1].dropped == want[1].dropped > 0
    assert (np.asarray(other[0]) != np.asarray(got[0])).any()


def test_sequences_per_group_must_divide_the_batch(x, params):
    message = r"sequences_per_group: 2 does not divide a batch of 3.*: 0, 1, 3\b"
    with pytest.raises(config.ConfigError, match=message):
        run(params, x, sequences_per_group=2)
    # No token depends on another in decoding, and none is routed to initialise.
    exact = run(params, x, exact=True, sequences_per_group=2)[0]
    np.testing.assert_array_equal(exact, run(params, x, exact=True)[0])
    shapes = jax.eval_shape(transform(sequences_per_group=2).init, jax.random.key(0), x)
    assert shapes["ffn"]["wi"].shape == (EXPERTS, WIDTH, D_FF)


@pytest.mark.parametrize(
    ("batch", "sequences", "parts", "accepted"),
    [
        (128, 0, 16, None),
        (128, 0, 32, "64 in the encoder, 16 in the decoder; accepted: 1, 2, 4$"),
        (128, 4, 32, None),
        (128, 8, 32, "16 in the encoder, 16 in the decoder; accepted: 1, 2, 4$"),
        (48, 2, 8, None),
        (48, 4, 8, "12 in the encoder, 12 in the decoder; accepted: 1, 2, 3, 6$"),
        (128, 3, 1, "3 does not divide a batch of 128 .*: 0, 1, 2, 4, 8, 16, 32, 64"),
    ],
)
def test_groups_must_divide_over_devices(batch, sequences, parts, accepted):
    lengths = {"encoder": 512, "decoder": 114}
    if accepted is None:
        switch_ffn.check_parts(batch, lengths, 1024, sequences, parts)
        return
    with pytest.raises(config.ConfigError, match=accepted):
        switch_ffn.check_parts(batch, lengths, 1024, sequences, parts)
    # The values that the error lists are accepted.
    for fitting in accepted.rpartition(": ")[2].rstrip("$").split(", "):
        switch_ffn.check_parts(batch, lengths, 1024, int(fitting), parts)


def test_padding_is_not_routed(x, params):
    """Groups that consist of padding do not change the means either."""
    mask = np.arange(LENGTH) < np.array([[10], [16], [0]])
    settings = {"group_size": LENGTH, "z_loss_weight": 1.0}
    changed = np.where(mask[..., None], x, 100 * np.abs(x))
    y, metrics = run(params, changed, mask, **settings)
    assert not np.asarray(y)[~mask].any()
    y_alone, metrics_alone = run(params, x[:2], mask[:2], **settings)
    np.testing.assert_allclose(y[:2], y_alone, rtol=1e-5, atol=1e-6)
    for got, want in zip(metrics, metrics_alone, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_jitter_is_of_training_only(x, params):
    key = jax.random.key(1)
    calm = run(params, x, None, key, exact=True, jitter=0.0)[0]
    shaken = run(params, x, None, key, exact=True)[0]
    evaluated = run(params, x, None, key, exact=True, is_training=False)[0]
    np.testing.assert_array_equal(evaluated, calm)
    assert (np.asarray(shaken) != np.asarray(calm)).any()
    # The difference is small, except for the few tokens between two experts.
    close = np.isclose(shaken, calm, rtol=0.05, atol=0.01).all(axis=-1)
    assert close.mean() > 0.9


def test_dropout_is_drawn_for_each_hidden_element():
    x = np.ones((2, 100, 20), np.float32)
    params = {
        "ffn": {
            "router": np.zeros((20, 1), np.float32),
            "wi": np.ones((1, 20, 20), np.float32),
            "wo": np.eye(20, dtype=np.float32)[None],
        }
    }
    settings = {"d_ff": 20, "num_experts": 1, "dropout_rate": 0.2}
    y = np.asarray(run(params, x, None, jax.random.key(0), **settings)[0])
    np.testing.assert_allclose(np.unique(y.round(3)), [0, 25])
    # Five standard deviations for 4,000 draws, and for the means of 100 tokens.
    assert abs((y == 0).mean() - 0.2) < 5 * (0.16 / 4000) ** 0.5
    assert (y == 0).mean(axis=1).max() < 0.45


def test_router_is_float32_whatever_the_dtype_of_x(x, params):
    half = jnp.asarray(x, jnp.bfloat16)
    y, metrics = run(params, half, exact=True)
    y_full, metrics_full = run(params, half.astype(jnp.float32), exact=True)
    assert y.dtype == jnp.bfloat16
    for got, want in zip(metrics, metrics_full, strict=True):
        assert got.dtype == jnp.float32
        np.testing.assert_array_equal(got, want)
    np.testing.assert_allclose(y.astype(jnp.float32), y_full, rtol=0.1, atol=0.2)


def test_bad_arguments(x):
    def init(*args, **settings):
        return jax.eval_shape(transform(**settings).init, jax.random.key(0), *args)

    with pytest.raises(ValueError, match=r"SwitchFFN: mask: must be bool \(3, 16\)"):
        init(x, np.ones((LENGTH, BATCH), bool))
    with pytest.raises(ValueError, match="group_size: must be at least 1"):
        init(x, group_size=0)
    with pytest.raises(ValueError, match="all must be positive"):
        init(x, num_experts=0)


@pytest.mark.parametrize(
    ("dropout_rate", "with_key"), [(0.1, True), (0.1, False), (0.0, True)]
)
def test_experts_are_one_kernel(x, params, dropout_rate, with_key):
    key = jax.random.key(0) if with_key else None
    function = transform(dropout_rate=dropout_rate)
    found = kernels.choices(lambda p, x: function.apply(p, x, None, key), params, x)
    assert {c.op for c in found if c.op.startswith("expert")} == {"expert_feed_forward"}
