"""Transformers with lightweight convolutions: forms and counts."""

import jax
import pytest

from clinometer import models
from clinometer.models.architectures import registry
from clinometer.tests.models import every_architecture as every

LCONV = registry.ARCHITECTURES["lconv"]
ENCODER, DECODER = every.encoder_tokens(), every.decoder_tokens()


def test_counts_are_as_specified():
    config = registry.build("lconv-base").config
    assert round(LCONV.param_counts(config).total / 1e6, 2) == 223.57
    macs = LCONV.forward_macs(config, 512, 114)
    total = 128 * (macs.body + macs.logits + macs.lookup)
    assert round(total / 1e12, 2) == 10.44


@pytest.mark.slow
def test_fairseq_s_form_counts_trains_and_decodes():
    options = {"kernel_size": 5, "conv_form": "fairseq"}
    example = every.Example("lconv-pico", options)
    model, params = example.build(), example.params()
    names = params["encoder/layer_0/self_convolution"]
    assert {name: leaf.shape for name, leaf in names.items()} == {
        "value": (32, 32),
        "value_bias": (32,),
        "gate": (32, 32),
        "gate_bias": (32,),
        "filter": (2, 5),
        "output": (32, 32),
        "output_bias": (32,),
    }
    counted = models.counts.count(example.name, vocab_size=64, **options)
    assert counted.params_total == sum(x.size for x in jax.tree.leaves(params))
    cache = every.assert_decodes_as_taught(model, params, ENCODER, DECODER)
    # The last K - 1 positions are all that a layer keeps of its own past.
    assert cache["layers"]["self_convolution"].shape == (2, every.B, 4, 32)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("lconv-pico", {"kernel_size": 6}, "kernel_size: must be odd"),
        ("lconv-pico", {"kernel_size": 65}, "at most 63, got 65"),
        ("lconv-pico", {"conv_form": "tiled"}, "accepted: mtf, fairseq"),
        ("lconv-pico", {"dropconnect_rate": 1.0}, r"must lie in \[0, 1\)"),
        ("lconv-NH5-PI", {"conv_form": "fairseq"}, "num_heads: 5 does not divide"),
        ("dconv-NH5-PI", {}, "num_heads: 5 does not divide d_model, 32"),
        ("lconv-pico", {"pointwise": True}, "unknown option 'pointwise'"),
    ],
)
def test_bad_options_are_refused(name, options, words):
    with pytest.raises(models.ConfigError, match=words):
        models.build(name, **options)


@pytest.mark.parametrize("name", ["lconv-KV8-PI", "dconv-SH-PI", "dconv-SKV-PI"])
def test_operators_on_heads_that_are_not_there_are_refused(name):
    with pytest.raises(models.ModelNameError, match="does not apply to .conv"):
        models.build(name)
