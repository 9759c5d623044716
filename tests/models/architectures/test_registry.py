"""Building models by name, and errors for invalid options."""

import pytest

from clinometer import models


def test_overrides_reach_the_config():
    model = models.build("transformer-NL2-SM", dropout_rate=0, dtype="bfloat16")
    assert model.name == "transformer-NL2-SM"
    assert (model.config.num_encoder_layers, model.config.d_model) == (2, 512)
    assert (model.config.dropout_rate, model.config.dtype) == (0, "bfloat16")


def test_printed_d_kv_is_a_switch():
    def d_kv(name):
        return models.build(name, paper_literal_kv32=True).config.d_kv

    assert d_kv("transformer-small") == 32
    assert d_kv("transformer-KV16-SM") == 16
    assert d_kv("transformer-base") == 64
    assert models.build("transformer-small").config.d_kv == 64


def test_rematerialization_of_earlier_versions():
    """Records hold a bool where there are now several policies."""
    for recorded, policy in ((False, "none"), (True, "layer"), ("dots", "dots")):
        config = models.build("transformer-pico", remat=recorded).config
        assert config.remat == policy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 0.1}, "did you mean 'dropout_rate'"),
        ({"zzz": 1}, "unknown option 'zzz'"),
        ({"dropout_rate": 1.0}, r"dropout_rate: must lie in \[0, 1\)"),
        ({"dropout_rate": "0.1"}, "dropout_rate: expected float"),
        ({"d_model": 0}, "d_model: must be at least 1"),
        ({"d_model": 8.0}, "d_model: expected int"),
        ({"num_heads": True}, "num_heads: expected int"),
        ({"num_kv_heads": 3}, "num_kv_heads: 3 does not divide num_heads, 8"),
        ({"ffn_activation": "tanh"}, "ffn_activation: unknown 'tanh'; accepted: relu"),
        ({"dtype": "float16"}, "dtype: unknown 'float16'"),
        ({"remat": 1}, "remat: expected str"),
        ({"remat": "all"}, "remat: unknown 'all'; accepted: none, layer, dots"),
        ({"num_encoder_layers": 1025}, "num_encoder_layers: must be at most 1024"),
        ({"vocab_size": 2**64}, "vocab_size: must be at most 16777216"),
        ({"dropout_rate": float("nan")}, "dropout_rate: must be a finite number"),
        ({"d_ff": -(2**64)}, "d_ff: must be at least 1"),
    ],
)
def test_bad_options_name_the_field(options, message):
    with pytest.raises(models.ConfigError, match=message):
        models.build("transformer-small", **options)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("switch-pico", {"num_experts": 2**17}),
        ("switch-pico", {"capacity_factor": float("inf")}),
        ("mos-pico", {"num_softmaxes": 2**13}),
        ("funnel-pico", {"num_blocks": 2**64}),
        ("universal-pico", {"num_inrecurrence_layers": 2000}),
        ("universal-pico", {"halting_bias_init": float("nan")}),
        ("albert-pico", {"d_embedding": 2**64}),
        ("mixer-pico", {"mixing_width": 2**64}),
        ("performer-pico", {"kernel_epsilon": 1e300}),
        ("lconv-pico", {"kernel_size": 2**64}),
    ],
)
def test_every_architecture_has_limits(name, option):
    (field,) = option
    with pytest.raises(models.ConfigError, match=f"{field}: must be"):
        models.build(name, **option)
