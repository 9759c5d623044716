"""The axis names of every architecture's parameters match their configs."""

import jax
import pytest

from clinometer import models
from clinometer.models.layers import parameters

# All lengths differ, so that a name on the wrong axis is detected.
SHAPE = {
    "d_model": 24,
    "d_ff": 40,
    "num_heads": 3,
    "d_kv": 5,
    "vocab_size": 80,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
}
UNTIED = {"tie_embeddings": False, "norm": "layer"}
GATED = {"ffn_activation": "gated-gelu"}
TWO_LAYERS = {"num_encoder_layers": 2, "num_decoder_layers": 2}
EXPERTS = {**TWO_LAYERS, "num_experts": 7}
TAPS = {"kernel_size": 9}
MIXING = {"sequence_length": 13, "mixing_width": 10}
FACTOR = {"d_embedding": 8}

ALL_HAVE = {"embed", "vocab", "mlp", "joined_heads", "joined_kv_heads"}
BIAS = {"heads", "relative_buckets"}

# Each architecture with its defaults, and with options that change its parameters:
# (name, options, axis names besides `ALL_HAVE`).
VARIANTS = [
    ("transformer", {}, BIAS),
    ("transformer-SH-SKV", {**UNTIED, **GATED}, BIAS),
    ("evolved", TWO_LAYERS, {*BIAS, "channels", "embed_part", "taps"}),
    (
        "evolved-SH",
        {**UNTIED, **TWO_LAYERS, "cap_parallel_heads": True},
        {*BIAS, "channels", "embed_part", "taps"},
    ),
    ("universal", {}, {*BIAS, "recurrence"}),
    (
        "universal",
        {"recurrence": "highway"},
        {*BIAS, "recurrence", "joined_embed"},
    ),
    (
        "universal",
        {
            **UNTIED,
            "recurrence": "highway",
            "couple_gates": False,
            "highway_inputs": "st",
            "num_encoder_layers": 2,
            "step_embedding": False,
            "vanilla_before": True,
            "vanilla_after": True,
            "share_vanilla_layers": False,
        },
        {*BIAS, "joined_embed"},
    ),
    (
        "universal",
        {"recurrence": "act", "act_type": "global"},
        {*BIAS, "recurrence", "one"},
    ),
    ("switch", EXPERTS, {*BIAS, "expert"}),
    ("switch-SH-SKV", {**UNTIED, **EXPERTS}, {*BIAS, "expert"}),
    ("performer", {}, set()),
    (
        "performer-SH-SKV",
        {
            **UNTIED,
            "performer_pos": "learned",
            "max_length": 16,
            "linear_cross_attention": True,
        },
        {"position"},
    ),
    ("funnel", {"num_encoder_layers": 2, "num_blocks": 2}, BIAS),
    (
        "funnel-SH",
        {**UNTIED, **GATED, "num_blocks": 2, "num_encoder_layers": 4},
        BIAS,
    ),
    ("albert", FACTOR, {*BIAS, "factor"}),
    ("albert-SKV", {**GATED, **FACTOR, "share_stacks": False}, {*BIAS, "factor"}),
    (
        "albert",
        {**FACTOR, "share_relative_bias": True, "share_final_norm": True},
        {*BIAS, "factor"},
    ),
    ("mos", {"num_softmaxes": 4}, {*BIAS, "softmaxes", "context"}),
    ("glu", {}, BIAS),
    ("glu-SH-SKV", {**UNTIED, "ffn_match": "width"}, BIAS),
    ("lconv", TAPS, {"channels", "hidden_channels", "taps"}),
    (
        "lconv",
        {**UNTIED, **GATED, **TAPS, "conv_form": "fairseq"},
        {"channels", "heads", "taps"},
    ),
    ("dconv", TAPS, {"channels", "joined_taps"}),
    (
        "dconv",
        {**UNTIED, **TAPS, "pointwise": True},
        {"channels", "hidden_channels", "joined_taps"},
    ),
    ("mixer", MIXING, {*BIAS, "length", "mixing"}),
    (
        "mixer",
        {**UNTIED, **MIXING, "mixing_bias": True},
        {*BIAS, "length", "mixing"},
    ),
]


def build(name, **options):
    return models.build(f"{name}-pico", **{**SHAPE, **options})


def accepted_lengths(config):
    """Returns {axis: accepted lengths} of a config, according to the papers."""
    d_model, heads = config.d_model, {config.num_heads}
    accepted = {
        "embed": {d_model},
        "vocab": {config.vocab_size},
        "mlp": {config.d_ff},
        "relative_buckets": {32},
        "channels": {d_model},
        "hidden_channels": {d_model},
        "context": {d_model},
        "one": {1},
        "recurrence": {config.num_encoder_layers, config.num_decoder_layers},
    }
    if getattr(config, "ffn_match", "") == "parameters":
        accepted["mlp"] = {round(config.d_ff * 2 / 3)}
    if hasattr(config, "highway_inputs"):
        accepted["joined_embed"] = {len(config.highway_inputs) * d_model}
    if hasattr(config, "cap_parallel_heads"):  # Evolved Transformer.
        heads = {config.num_heads, 2 * config.num_heads}
        accepted["channels"] = {d_model, 4 * d_model, 2 * d_model}
        accepted["embed_part"] = {d_model // 2}
        accepted["taps"] = {3, 7, 9, 11}
        # The right branch has half the width, and is padded to that of the left one.
        accepted["channels"].add(d_model // 2)
    accepted["heads"] = heads
    accepted["joined_heads"] = {number * config.d_kv for number in heads}
    accepted["joined_kv_heads"] = accepted["joined_heads"]
    if config.num_kv_heads:
        accepted["joined_kv_heads"] = {config.num_kv_heads * config.d_kv}
    for axis, field in (
        ("expert", "num_experts"),
        ("factor", "d_embedding"),
        ("softmaxes", "num_softmaxes"),
        ("position", "max_length"),
        ("length", "sequence_length"),
        ("mixing", "mixing_width"),
        ("taps", "kernel_size"),
    ):
        if hasattr(config, field):
            accepted[axis] = {getattr(config, field)}
    if hasattr(config, "kernel_size"):
        accepted["joined_taps"] = {config.num_heads * config.kernel_size}
    return accepted


@pytest.mark.parametrize(
    ("name", "options", "axes_beside"),
    VARIANTS,
    ids=["-".join([v[0], *map(str, v[1].values())]) for v in VARIANTS],
)
def test_every_parameter_has_axes_of_its_shape(name, options, axes_beside):
    model = build(name, **options)
    axes = model.param_axes()
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    accepted, used = accepted_lengths(model.config), set()
    for module, leaves in shapes.items():
        assert axes[module].keys() == leaves.keys()
        for leaf_name, leaf in leaves.items():
            names, path = axes[module][leaf_name], f"{module}/{leaf_name}"
            assert isinstance(names, tuple) and len(names) == leaf.ndim, path
            for axis, length in zip(names, leaf.shape, strict=True):
                assert length in accepted[axis], (path, axis)
            used |= set(names)
    assert axes.keys() == shapes.keys()
    assert used == ALL_HAVE | axes_beside
    # The names of the stacked form match the stacked parameters.
    stacked_axes = models.stack_axes(axes)
    stacked = jax.eval_shape(models.stack_params, shapes)
    assert stacked_axes.keys() == stacked.keys()
    for module, leaves in stacked.items():
        for leaf_name, leaf in leaves.items():
            names = stacked_axes[module][leaf_name]
            assert len(names) == leaf.ndim
            assert ("layers" in names) == models.is_stacked(module)


def test_the_variants_hold_every_architecture_and_every_name():
    assert {name.partition("-")[0] for name, *_ in VARIANTS} == set(
        models.ARCHITECTURES
    )
    beside = set().union(*(axes for *_, axes in VARIANTS))
    of_images = {"pixels", "classes"}  # See vision/test_model.py.
    assert ALL_HAVE | beside | of_images == set(parameters.AXES) - {parameters.LAYERS}


def test_the_transformers_axes():
    axes = models.build("transformer-NL1-pico", tie_embeddings=False).param_axes()
    attention = {
        "query": ("embed", "joined_heads"),
        "key": ("embed", "joined_kv_heads"),
        "value": ("embed", "joined_kv_heads"),
        "output": ("joined_heads", "embed"),
    }
    norm = {"scale": ("embed",)}
    feed_forward = {"wi": ("embed", "mlp"), "wo": ("mlp", "embed")}
    want = {
        "token_embedding": {"table": ("vocab", "embed")},
        "logits": {"kernel": ("embed", "vocab")},
        "decoder/layer_0/cross_attention": attention,
        "decoder/layer_0/cross_attention_norm": norm,
    }
    for stack in ("encoder", "decoder"):
        want |= {
            f"{stack}/relative_bias": {"table": ("heads", "relative_buckets")},
            f"{stack}/layer_0/self_attention": attention,
            f"{stack}/layer_0/self_attention_norm": norm,
            f"{stack}/layer_0/feed_forward": feed_forward,
            f"{stack}/layer_0/feed_forward_norm": norm,
            f"{stack}/final_norm": norm,
        }
    assert axes == want


def test_experts_and_tables_of_other_architectures():
    switch = build("switch", **EXPERTS).param_axes()
    assert switch["decoder/layer_0/sparse_feed_forward"] == {
        "router": ("embed", "expert"),
        "wi": ("expert", "embed", "mlp"),
        "wo": ("expert", "mlp", "embed"),
    }
    assert build("albert", **FACTOR).param_axes()["token_embedding"] == {
        "table": ("vocab", "factor"),
        "projection": ("factor", "embed"),
    }
    stacked = models.stack_axes(switch)
    assert stacked["encoder/layers/layer/sparse_feed_forward"]["wi"] == (
        ("layers", "expert", "embed", "mlp")
    )
