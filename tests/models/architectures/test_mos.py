"""The Mixture of Softmaxes against float64 NumPy, and its invariants."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from clinometer import models
from clinometer.models.architectures import mos
from clinometer.models.architectures import registry
from clinometer.tests.models import every_architecture as every

WIDTH, VOCABULARY, BATCH, LENGTH = 4, 48, 4, 10


def head(num_softmaxes, chunk_tokens=1000):
    def forward(h, table):
        module = mos.MixtureOfSoftmaxes(num_softmaxes, 1.0, chunk_tokens, name="logits")
        return module(h, table)

    return hk.without_apply_rng(hk.transform(forward))


@functools.cache
def case(num_softmaxes):
    """Returns parameters and inputs in float64."""
    rng = np.random.default_rng(num_softmaxes)
    params = {
        "mixture": rng.normal(size=(num_softmaxes, WIDTH)),
        "context": rng.normal(size=(num_softmaxes, WIDTH, WIDTH)),
    }
    h = rng.normal(size=(BATCH, LENGTH, WIDTH))
    return {"logits": params}, h, rng.normal(size=(VOCABULARY, WIDTH))


@functools.cache
def run(num_softmaxes, chunk_tokens=1000):
    args = jax.tree.map(jnp.float32, case(num_softmaxes))
    return np.asarray(jax.jit(head(num_softmaxes, chunk_tokens).apply)(*args))


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def definition(params, h, table):
    """Returns the log of a weighted sum of softmaxes per token, in float64."""
    w = params["logits"]
    logits = np.zeros((*h.shape[:2], len(table)))
    for position in np.ndindex(h.shape[:2]):
        scaled = h[position] * WIDTH**-0.5
        prior = softmax(w["mixture"] @ scaled)
        parts = [softmax(table @ np.tanh(scaled @ c)) for c in w["context"]]
        logits[position] = np.log(prior @ np.array(parts))
    return logits


# All positions at once; one at a time; three at a time, with one left over.
@pytest.mark.parametrize("chunk_tokens", [1000, 1, 12])
def test_equals_the_definition(chunk_tokens):
    got = run(3, chunk_tokens)
    np.testing.assert_allclose(got, definition(*case(3)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.exp(np.float64(got)).sum(-1), 1, rtol=1e-5)


def _high(x, y):
    """Returns x y^T as TPUs compute it at Precision.HIGH, summed in float64."""

    def parts(x):
        high = np.float32(x).astype(ml_dtypes.bfloat16)
        low = (np.float32(x) - np.float32(high)).astype(ml_dtypes.bfloat16)
        return np.float64(high), np.float64(low)

    (x, x_low), (y, y_low) = parts(x), parts(y)
    return x @ y.T + x @ y_low.T + x_low @ y.T


def test_three_products_of_bfloat16_are_exact_enough():
    """The error of TPUs is within the stated bound, and 1 / 100 of bfloat16's."""
    rng = np.random.default_rng(0)
    d_model, tokens = 768, 64
    contexts = np.float32(np.tanh(rng.normal(size=(tokens, d_model))))
    table = np.float32(rng.normal(size=(2048, d_model)))
    exact = np.float64(contexts) @ np.float64(table).T
    size = np.abs(np.float64(contexts)) @ np.abs(np.float64(table)).T
    error = np.abs(_high(contexts, table) - exact)
    assert (error <= 3 * 2.0**-18 * size).all()
    rounded = [np.float64(x.astype(ml_dtypes.bfloat16)) for x in (contexts, table)]
    once = np.abs(rounded[0] @ rounded[1].T - exact)
    assert np.sqrt(np.mean(error**2)) < np.sqrt(np.mean(once**2)) / 100
    found, want = (np.log(softmax(x)) for x in (_high(contexts, table), exact))
    assert np.abs(found - want).max() < 1e-3  # Of log-probabilities of tens of nats.


def test_only_tpus_make_three_products():
    args = jax.tree.map(jnp.float32, case(3))
    traced = jax.jit(head(3).apply).trace(*args)
    for platform, kept in (("tpu", "HIGH"), ("cuda", "HIGHEST"), ("cpu", "HIGHEST")):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        products = [line for line in text.splitlines() if "dot_general" in line]
        assert len(products) == 3
        assert all(f"precision = [{kept}, {kept}]" in line for line in products)


def test_one_component_is_a_softmax_of_the_projected_state():
    params, h, table = case(1)
    state = np.tanh(h * WIDTH**-0.5 @ params["logits"]["context"][0])
    want = np.log(softmax(state @ table.T))
    np.testing.assert_allclose(run(1), want, rtol=1e-5, atol=1e-5)


def test_only_mixtures_have_a_higher_rank_than_one_softmax_can():
    def rank(num_softmaxes):
        matrix = np.float64(run(num_softmaxes)).reshape(-1, VOCABULARY)
        return np.linalg.matrix_rank(matrix, rtol=1e-5)

    assert rank(1) <= WIDTH + 1
    assert rank(3) > WIDTH + 1


def test_gradients_do_not_depend_on_the_chunks_which_save_memory():
    components, shape = 8, (BATCH, 64)
    h = jnp.ones((*shape, WIDTH))
    args = jax.tree.map(jnp.float32, (case(components)[0], h, case(components)[2]))

    def compiled(chunk_tokens):
        def loss(*args):
            logits = head(components, chunk_tokens).apply(*args)
            return jnp.sum(logits[..., 3])

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(*args).compile()

    chunked, whole = compiled(16), compiled(BATCH * 64)
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3),
        chunked(*args),
        whole(*args),
    )
    all_at_once = 4 * BATCH * 64 * components * VOCABULARY
    small, large = (
        program.memory_analysis().temp_size_in_bytes for program in (chunked, whole)
    )
    assert small < all_at_once < large


@pytest.mark.slow
def test_the_first_loss_is_large_unless_contexts_begin_small():
    def first_loss(scale):
        example = every.Example("mos-EL1-DL1-DM128-PI", {"context_init_scale": scale})
        model = example.build(vocab_size=512)

        def loss(key):
            tokens = jax.random.randint(key, (4, 8), 2, 512)
            logits = model.apply(model.init(key), tokens, tokens)
            sums = models.loss.cross_entropy(logits, tokens[::-1])
            return sums.loss_sum / sums.weight_sum

        return jax.jit(loss)(jax.random.key(0))

    assert first_loss(1.0) > 1.5 * np.log(512)
    np.testing.assert_allclose(first_loss(128**-0.5), np.log(512), rtol=0.05)


def test_counts_are_as_specified():
    config = models.build("mos-base").config
    assert config.num_softmaxes == 15
    architecture = registry.ARCHITECTURES["mos"]
    assert round(architecture.param_counts(config).total / 1e6, 2) == 231.76
    macs = architecture.forward_macs(config, 512, 114)
    total = 128 * (macs.body + macs.logits + macs.lookup)
    assert round(total / 1e12, 2) == 16.23


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_softmaxes": 0}, "num_softmaxes: must be at least 1"),
        ({"tie_embeddings": False}, "tie_embeddings: must be True, as mos"),
        ({"logits_scaling": "never"}, "logits_scaling: must be 'tied', as mos"),
        ({"context_init_scale": 0.0}, "context_init_scale: must be positive"),
        ({"head_tokens": 0}, "head_tokens: must be at least 1"),
    ],
)
def test_bad_options_name_the_field(options, message):
    with pytest.raises(models.ConfigError, match=message):
        models.build("mos-pico", **options)
