"""Transformers with dynamic convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.models.architectures import registry
from clinometer.tests.models import every_architecture as every

ENCODER, DECODER = every.encoder_tokens(), every.decoder_tokens()


def test_parameters_of_a_layer_are_the_formula_s():
    """3 d^2 + 3 d + d H K each, at base: d 768, H 12, K 31."""
    config = registry.build("dconv-base").config
    total = registry.ARCHITECTURES["dconv"].param_counts(config).total
    d, f, h, k, v = 768, 3072, 12, 31, 32128
    convolution = 3 * d * d + 3 * d + d * h * k
    encoder = convolution + 2 * d * f + 2 * d
    decoder = convolution + 4 * d * d + 2 * d * f + 3 * d
    assert total == v * d + 12 * (encoder + decoder) + 2 * d


def test_pointwise_adds_one_dense_layer_to_each_convolution():
    plain, more = (
        models.counts.count(
            "dconv-pico", vocab_size=64, pointwise=pointwise, trace=False
        )
        for pointwise in (False, True)
    )
    assert more.params_total - plain.params_total == 4 * (32 * 32 + 32)


@pytest.mark.slow
def test_filters_that_all_inputs_share_are_lightweight_convolution():
    """If the predicted logits are 0, every filter averages its window."""
    example = every.Example("dconv-pico", {"kernel_size": 5})
    light = every.Example("lconv-pico", {"kernel_size": 5, "conv_form": "fairseq"})
    dynamic_params, light_params = {}, {}
    for module, leaves in example.params().items():
        dynamic_params[module] = dict(leaves)
        light_params[module] = dict(leaves)
        if module.endswith("self_convolution"):
            dynamic_params[module]["filter"] = jnp.zeros((32, 2 * 5))
            light_params[module]["filter"] = jnp.zeros((2, 5))
    got = jax.jit(example.build().apply)(dynamic_params, ENCODER, DECODER)
    want = jax.jit(light.build().apply)(light_params, ENCODER, DECODER)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
