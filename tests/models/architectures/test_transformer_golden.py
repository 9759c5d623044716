"""The Transformer against Hugging Face's T5, with weights drawn by NumPy.

`tests/models/golden/make_t5.py` computes the golden values with `transformers`, which
these tests do not need. If one fails, the model has changed; recompute the values only
to add a variant.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.tests.models.golden import weights

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture(params=weights.VARIANTS)
def case(request):
    """Returns the model, parameters and golden values of a variant."""
    options = {**weights.SHAPE, **weights.VARIANTS[request.param]}
    model = models.build("transformer-pico", dropout_rate=0.0, **options)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    flat = {
        f"{module}/{name}": leaf.shape
        for module, leaves in shapes.items()
        for name, leaf in leaves.items()
    }
    params = {}
    for path, leaf in weights.draw(flat).items():
        module, name = path.rsplit("/", 1)
        params.setdefault(module, {})[name] = jnp.asarray(leaf)
    with np.load(GOLDEN / f"{request.param}.npz") as golden:
        return model, params, dict(golden)


def batch():
    tokens = {name: jnp.asarray(value) for name, value in weights.batch().items()}
    shifted = jnp.pad(tokens["targets"], ((0, 0), (1, 0)))[:, :-1]
    return tokens["inputs"], shifted, tokens["targets"]


def mean_loss(model, params):
    inputs, decoder_inputs, targets = batch()
    logits = jax.jit(model.apply)(params, inputs, decoder_inputs)
    sums = models.loss.cross_entropy(logits, targets)
    return sums.loss_sum / sums.weight_sum


def test_logits(case):
    model, params, golden = case
    inputs, decoder_inputs, targets = batch()
    logits = jax.jit(model.apply)(params, inputs, decoder_inputs)
    # The outputs at padding differ: our model zeroes them.
    real = np.asarray(targets != 0)
    np.testing.assert_allclose(
        logits[real], golden["logits"][real], rtol=1e-4, atol=1e-4
    )


def test_loss_and_gradients(case):
    model, params, golden = case
    loss, gradients = jax.jit(jax.value_and_grad(lambda p: mean_loss(model, p)))(params)
    np.testing.assert_allclose(loss, golden["loss"], rtol=1e-4)
    paths = [f"gradient:{m}/{n}" for m, leaves in gradients.items() for n in leaves]
    assert sorted(paths) == sorted(k for k in golden if k.startswith("gradient:"))
    for module, leaves in gradients.items():
        for name, leaf in leaves.items():
            want = golden[f"gradient:{module}/{name}"]
            np.testing.assert_allclose(
                leaf, want, rtol=1e-4, atol=1e-4 * np.abs(want).max(), err_msg=module
            )


def test_greedy_decoding(case):
    model, params, golden = case
    got = models.decoding.greedy(
        model, params, batch()[0], weights.GENERATED_LENGTH, weights.GENERATED_EOS
    )
    want = golden["generated"]
    np.testing.assert_array_equal(got[:, : want.shape[1]], want)
    assert not got[:, want.shape[1] :].any()


def test_a_changed_weight_would_be_seen(case):
    model, params, golden = case
    inputs, decoder_inputs, _ = batch()
    apply = jax.jit(model.apply)
    for module, name in (
        ("encoder/relative_bias", "table"),
        ("decoder/layer_1/cross_attention", "query"),
        ("decoder/final_norm", "scale"),
    ):
        leaf = params[module][name] * 1.05
        changed = {**params, module: {**params[module], name: leaf}}
        logits = apply(changed, inputs, decoder_inputs)
        assert not np.allclose(logits[0], golden["logits"][0], rtol=1e-4, atol=1e-4)
