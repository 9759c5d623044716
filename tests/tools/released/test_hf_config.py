"""`config.json` in and out."""

import json

import pytest

from clinometer import models
from clinometer.tests.tools.released import hub
from clinometer.tools.released import errors
from clinometer.tools.released import hf_config

SMALL = {
    **hub.T5,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 2048,
    "num_heads": 8,
    "num_layers": 16,
    "num_decoder_layers": 4,
    "vocab_size": 32128,
}


def parsed(**changes):
    contents = {k: v for k, v in {**SMALL, **changes}.items() if v is not ...}
    return hf_config.parsed(contents, "config.json")


def described(tied=True, **changes):
    return hf_config.described(parsed(**changes), tied=tied)


def test_numbers_become_a_name():
    name, overrides = described()
    assert name == "transformer-EL16-DL4-SM"
    assert overrides == {"vocab_size": 32128, "dropout_rate": 0.1}


def test_old_configs_lack_fields():
    """As T5's first releases: symmetric, tied, and with the distance of 128."""
    name, overrides = described(
        num_decoder_layers=...,
        tie_word_embeddings=...,
        relative_attention_max_distance=...,
        feed_forward_proj=...,
        dropout_rate=...,
    )
    assert name == "transformer-NL16-SM"
    assert overrides == {"vocab_size": 32128, "dropout_rate": 0.1}


@pytest.mark.parametrize(
    ("fields", "tied", "scaling"),
    [
        # Version 1.0; version 1.1 as saved by `transformers` 4 and by 5.
        ({"tie_word_embeddings": True}, True, None),
        ({"tie_word_embeddings": False}, False, None),
        ({"tie_word_embeddings": True, "scale_decoder_outputs": False}, False, None),
        # Tied, but not scaled; and what only the field can say.
        ({"tie_word_embeddings": True, "scale_decoder_outputs": False}, True, "never"),
        ({"tie_word_embeddings": False}, True, "never"),
        ({"tie_word_embeddings": False, "scale_decoder_outputs": True}, True, None),
        ({"tie_word_embeddings": True}, False, "always"),
    ],
)
def test_scaling_is_read_from_its_field_or_the_old_flag(fields, tied, scaling):
    _, overrides = described(tied, **fields)
    assert overrides.get("logits_scaling") == scaling
    assert overrides.get("tie_embeddings", True) == tied


@pytest.mark.parametrize(
    ("fields", "name", "changed"),
    [
        # T5 1.1 small and base.
        ({"num_layers": 8, "num_heads": 6, "d_ff": 1024}, "glu-NL8-NH6-FF1024-SM", {}),
        (
            {"num_layers": 12, "num_heads": 12, "d_ff": 2048, "d_model": 768},
            "glu-base",
            None,
        ),
    ],
)
def test_gated_models(fields, name, changed):
    fields |= {"num_decoder_layers": None, "feed_forward_proj": "gated-gelu"}
    found, overrides = described(False, tie_word_embeddings=False, **fields)
    config = models.build(found, **overrides).config
    assert found == name
    assert (config.ffn_width, config.ffn_activation) == (fields["d_ff"], "gated-gelu")
    match = {"ffn_match": "width"} if changed is not None else {}
    assert overrides == {
        **match,
        "vocab_size": 32128,
        "dropout_rate": 0.1,
        "tie_embeddings": False,
    }


def test_a_width_without_a_name_is_an_override():
    name, overrides = described(d_ff=9000)
    assert name == "transformer-EL16-DL4-SM"
    assert models.build(name, **overrides).config.d_ff == 9000


def test_switch():
    released = hf_config.parsed(hub.SWITCH, "config.json")
    name, overrides = hf_config.described(released, tied=True)
    config = models.build(name, **overrides).config
    assert (config.num_experts, config.min_capacity) == (3, 5)
    assert (config.num_encoder_layers, config.num_decoder_layers) == (4, 2)
    assert config.sequences_per_group == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "bert"}, "model_type is 'bert'; accepted: t5, switch"),
        ({"d_model": ...}, "d_model is missing"),
        ({"d_model": "512"}, "d_model: got '512'"),
        ({"d_kv": 10**9}, "d_kv: must be at most"),
        ({"num_layers": 0}, "num_layers: got 0"),
        ({"dropout_rate": 1.5}, "dropout_rate is 1.5; accepted: a number in [0, 1)"),
        ({"feed_forward_proj": "gelu"}, "feed_forward_proj is 'gelu'; accepted: relu"),
        ({"feed_forward_proj": 3}, "feed_forward_proj is 3"),
        ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon is 1e-05; accepted: 1e-06"),
        ({"relative_attention_num_buckets": 64}, "_buckets is 64; accepted: 32"),
        ({"pad_token_id": 3}, "pad_token_id is 3; accepted: 0"),
    ],
)
def test_what_does_not_fit_is_named(fields, message):
    with pytest.raises(errors.ReleaseError) as raised:
        parsed(**fields)
    assert message in str(raised.value)


def test_all_that_does_not_fit_is_listed():
    with pytest.raises(errors.ReleaseError, match="3 problems") as raised:
        parsed(d_model=..., layer_norm_epsilon=1e-5, feed_forward_proj="tanh")
    for name in ("d_model", "layer_norm_epsilon", "feed_forward_proj"):
        assert name in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_layers": 3}, "num_sparse_encoder_layers is 2 of 3 layers"),
        ({"num_sparse_decoder_layers": 2}, "is 2 of 2 layers; accepted: every other"),
        ({"num_experts": None}, "num_experts is missing"),
        ({"router_bias": True}, "router_bias is True; accepted: False"),
    ],
)
def test_switch_that_does_not_fit(fields, message):
    with pytest.raises(errors.ReleaseError) as raised:
        hf_config.parsed({**hub.SWITCH, **fields}, "config.json")
    assert message in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"a": 1, "a": 2}', b"\xff"])
def test_damaged_files(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(errors.ReleaseError, match="config.json"):
        hf_config.read(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("transformer-EL16-DL4-SM", {}),
        ("glu-base", {"tie_embeddings": False}),
        ("transformer-small", {"logits_scaling": "never"}),
        ("transformer-small", {"tie_embeddings": False, "logits_scaling": "always"}),
        ("switch-EL4-SM", {"num_experts": 4}),
    ],
)
def test_what_is_written_is_read_back(name, overrides):
    model = models.build(name, **overrides)
    contents = json.loads(json.dumps(hf_config.written(model, expert_capacity=7)))
    tied = model.config.tie_embeddings
    found, fields = hf_config.described(
        hf_config.parsed(contents, "config.json"), tied=tied
    )
    assert found == model.name
    back = models.build(found, **fields).config
    for field in ("d_model", "ffn_width", "scales_logits", "tie_embeddings", "d_kv"):
        assert getattr(back, field) == getattr(model.config, field), field
    if "switch" in name:
        assert (back.num_experts, back.min_capacity) == (4, 7)
