"""ALBERT's sharing against golden values, T5 and the documented counts."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.models.architectures import registry
from clinometer.tests.models import every_architecture as every
from clinometer.tests.models.golden import make_albert as golden_model

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
ALBERT = registry.ARCHITECTURES["albert"]
PLAIN = {"vocab_size": 64, "dropout_rate": 0.0}

# Millions of parameters, by the formula of ARCHITECTURES.md#albert-choices.
PRINTED = {"tiny": 5.20, "small": 8.38, "base": 13.65, "large": 21.03, "xl": 71.4}


def named(arrays):
    """Converts {"module/name": array} to {module: {name: array}}."""
    result = {}
    for path, array in arrays.items():
        module, _, name = path.rpartition("/")
        result.setdefault(module, {})[name] = array
    return result


@pytest.mark.parametrize("variant", golden_model.VARIANTS)
def test_golden_values(variant):
    """Compares logits, loss and derivatives to those of a float64 reference."""
    with np.load(GOLDEN / f"{variant}.npz") as file:
        golden = dict(file)
    options = {**golden_model.SHAPE, **golden_model.VARIANTS[variant]}
    model = models.build("albert-pico", **options, dropout_rate=0.0)
    drawn, directions = golden_model.draw(variant)
    batch = {name: jnp.asarray(x) for name, x in golden_model.batch().items()}

    def mean_loss(params):
        logits = model.apply(params, batch["inputs"], batch["decoder_inputs"])
        sums = models.loss.cross_entropy(logits, batch["targets"])
        return sums.loss_sum / sums.weight_sum, logits

    (loss, logits), gradients = jax.jit(jax.value_and_grad(mean_loss, has_aux=True))(
        named(drawn)
    )
    real = np.asarray(batch["targets"] != 0)
    np.testing.assert_allclose(
        logits[real], golden["logits"][real], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(loss, golden["loss"], rtol=1e-5)
    for module, directions_here in named(directions).items():
        for name, direction in directions_here.items():
            got = float(jnp.vdot(gradients[module][name], direction))
            want = float(golden[f"derivative:{module}/{name}"])
            np.testing.assert_allclose(
                got, want, rtol=2e-3, atol=2e-4, err_msg=f"{module}/{name}"
            )


@functools.cache
def shared_model():
    model = models.build("albert-EL2-DL1-PI", **PLAIN, d_embedding=32)
    params = dict(jax.jit(model.init)(jax.random.key(0)))
    embedding = dict(params["token_embedding"], projection=jnp.eye(32))
    return model, {**params, "token_embedding": embedding}


def as_transformer(params):
    """Copies a shared layer's weights to every depth of both stacks."""
    result = {}
    for module, leaves in params.items():
        if module == "token_embedding":
            result[module] = {"table": leaves["table"]}
        elif not module.startswith("layer/"):
            result[module] = leaves
        else:
            part = module.removeprefix("layer/")
            for stack, depth in (("encoder", 2), ("decoder", 1)):
                if stack == "decoder" or "cross" not in part:
                    for index in range(depth):
                        result[f"{stack}/layer_{index}/{part}"] = leaves
    return result


@pytest.mark.slow
def test_it_is_t5_with_equal_layers_and_gradients_are_sums_over_uses():
    """Here e = d, and the projection is the identity."""
    model, params = shared_model()
    unshared = models.build("transformer-EL2-DL1-PI", **PLAIN)
    copies = as_transformer(params)
    loss, got = jax.jit(jax.value_and_grad(every.objective(model)))(params)
    want_loss, want = jax.jit(jax.value_and_grad(every.objective(unshared)))(copies)
    np.testing.assert_allclose(loss, want_loss, rtol=1e-6)
    for module, leaves in got.items():
        if not module.startswith("layer/"):
            continue
        part = module.removeprefix("layer/")
        uses = [other for other in want if other.endswith(f"/{part}")]
        assert len(uses) == (1 if "cross" in part else 3)
        for name, leaf in leaves.items():
            total = sum(want[use][name] for use in uses)
            np.testing.assert_allclose(
                leaf, total, rtol=1e-4, atol=1e-6 + 1e-5 * np.abs(total).max()
            )


def test_embedded_tokens_have_unit_deviation():
    model = models.build("albert-DM128-PI", vocab_size=512)
    embedding = jax.jit(model.init)(jax.random.key(0))["token_embedding"]
    assert abs(float((embedding["table"] @ embedding["projection"]).std()) - 1) < 0.05


@pytest.mark.slow
def test_decoder_keeps_keys_and_values_of_every_depth():
    model, params = shared_model()
    encoded = jax.eval_shape(model.encode, params, every.encoder_tokens())
    cache = jax.eval_shape(lambda p, e: model.init_cache(p, e, 7), params, encoded)
    key, value = cache["layers"]["self_attention"]
    assert key.shape == value.shape == (1, every.B, 7, 2, 16)


def config_of(name, **options):
    return registry.build(name, **options).config


@pytest.mark.parametrize("size", PRINTED)
def test_parameters_as_printed(size):
    got = ALBERT.param_counts(config_of(f"albert-{size}")).total / 1e6
    assert round(got, 1 if size == "xl" else 2) == PRINTED[size]


def test_parameters_as_printed_without_sharing_between_stacks():
    shared, apart = (
        ALBERT.param_counts(config_of("albert-base", share_stacks=share)).total
        for share in (True, False)
    )
    # 4 d a + 2 d f + 2 d more.
    assert apart - shared == 4 * 768 * 768 + 2 * 768 * 3072 + 2 * 768


def test_multiply_adds_as_printed():
    macs = ALBERT.forward_macs(config_of("albert-base"), 512, 114)
    assert round(128 * (macs.body + macs.logits + macs.lookup) / 1e12, 2) == 9.13


def test_parameters_do_not_depend_on_the_depth():
    shapes = [
        jax.eval_shape(models.build(name).init, jax.random.key(0))
        for name in ("albert-EL1-DL1-PI", "albert-EL5-DL3-PI")
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "options",
    [
        {"share_stacks": False},
        {"share_relative_bias": True, "share_final_norm": True, "norm": "layer"},
        {"shared_kv": True, "num_kv_heads": 1, "ffn_activation": "gated-gelu"},
    ],
)
def test_every_option_is_counted(options):
    # `count` raises where closed form and built model disagree.
    lengths = {"batch_size": 2, "encoder_length": 11, "decoder_length": 5}
    models.counts.count("albert-EL3-DL2-PI", **lengths, **options)


@pytest.mark.slow
def test_unshared_stacks_decode_as_they_are_forced():
    model = models.build("albert-EL2-DL3-PI", **PLAIN, share_stacks=False)
    params = jax.jit(model.init)(jax.random.key(0))
    encoder, decoder = every.encoder_tokens(), every.decoder_tokens()
    every.assert_decodes_as_taught(model, params, encoder, decoder)


def test_bad_options_are_refused():
    with pytest.raises(models.ConfigError, match="tie_embeddings: must be True"):
        models.build("albert-pico", tie_embeddings=False)
    with pytest.raises(models.ConfigError, match="logits_scaling: must be 'tied'"):
        models.build("albert-pico", logits_scaling="always")
    with pytest.raises(models.ConfigError, match="d_embedding: must be at least 1"):
        models.build("albert-pico", d_embedding=0)
    with pytest.raises(models.ConfigError, match="did you mean 'd_embedding'"):
        models.build("albert-pico", d_embeding=8)
