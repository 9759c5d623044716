"""Counts against Tables 1 and 4 of Tay et al. 2021, and their formula."""

import dataclasses
import json

import jax
import pytest

from clinometer import models
from clinometer.models.architectures import registry
from clinometer.models.counting import checked
from clinometer.models.counting import counts
from clinometer.tests.models.golden import make_counts

# By the formula of ARCHITECTURES.md#transformer-parameters.
EXACT_PARAMS = {
    "tiny": 15_570_688,
    "mini": 31_220_480,
    "small": 60_506_624,
    "base": 222_903_552,
    "large": 737_668_096,
    "xl": 2_851_598_336,
    "xxl": 11_307_321_344,
    "xxxl": 32_924_665_344,
}

# Tay et al. 2021, Table 4, as printed: parameters (M or B) and "TFLOPs".
TABLE_4 = {
    "SM": ("61M", "3.7"),
    "NL8-MI": ("50M", "3.2"),
    "BA": ("223M", "11"),
    "NL16-SM": ("134M", "7.2"),
    "NL20-SM": ("164M", "8.6"),
    "NL22-SM": ("179M", "9.3"),
    "NL24-SM": ("193M", "10"),
    "EL32-SM": ("143M", "10"),
    "LG": ("738M", "34"),
    "NL36-BA": ("621M", "29"),
    "XL": ("2.9B", "64"),
    "NL36-LG": ("1.1B", "50"),
    "XXL": ("11.3B", "367"),
    "NL32-XL": ("3.8B", "169"),
}
MISPRINTED_MACS = ("XL", "XXL")  # ARCHITECTURES.md#costs-the-papers-multiply-adds


def agrees(value: float, printed: str, tolerance: float) -> bool:
    """Returns whether a value is close to a printed number, or rounds to it."""
    decimals = len(printed.partition(".")[2])
    number = float(printed)
    return abs(value / number - 1) <= tolerance or round(value, decimals) == number


def closed(name, **options):
    parsed = registry.parse(name)
    architecture = registry.ARCHITECTURES[parsed.architecture]
    config = registry.build(name, **options).config
    return architecture, config


@pytest.mark.parametrize("size", EXACT_PARAMS)
def test_parameters_equal_the_exact_column(size):
    architecture, config = closed(f"transformer-{size}")
    assert architecture.param_counts(config).total == EXACT_PARAMS[size]


@pytest.mark.parametrize(("name", "millions"), [("SKV-BA", 201.67), ("SH-BA", 183.98)])
def test_parameters_of_shared_projections(name, millions):
    architecture, config = closed(f"transformer-{name}")
    assert round(architecture.param_counts(config).total / 1e6, 2) == millions


def formula_macs(e, d, d_model, d_ff, inner, vocab, s, t, gated):
    """Computes the formula of ARCHITECTURES.md#costs-the-papers-multiply-adds."""
    c = 3 if gated else 2
    encoder = s * (4 * d_model * inner + 2 * s * inner + c * d_model * d_ff)
    decoder = t * (
        6 * d_model * inner + 2 * t * inner + 2 * s * inner + c * d_model * d_ff
    )
    decoder += s * 2 * d_model * inner
    one_hot = (s + t) * vocab * d_model
    return 128 * (e * encoder + d * decoder + one_hot + t * vocab * d_model)


def paper_macs(name):
    architecture, config = closed(name)
    macs = architecture.forward_macs(config, 512, 128)
    return 128 * (macs.body + macs.logits + macs.lookup)


@pytest.mark.parametrize("name", TABLE_4)
def test_table_4(name):
    architecture, config = closed(f"transformer-{name}")
    macs = paper_macs(f"transformer-{name}")
    assert macs == formula_macs(
        config.num_encoder_layers,
        config.num_decoder_layers,
        config.d_model,
        config.d_ff,
        config.num_heads * config.d_kv,
        32128,
        512,
        128,
        gated=False,
    )
    printed_params, printed_macs = TABLE_4[name]
    unit = {"M": 1e6, "B": 1e9}[printed_params[-1]]
    assert agrees(
        architecture.param_counts(config).total / unit, printed_params[:-1], 0.007
    )
    assert agrees(macs / 1e12, printed_macs, 0.03) != (name in MISPRINTED_MACS)


@pytest.mark.parametrize("name", TABLE_4)
def test_table_4_by_count(name):
    counted = counts.count(f"transformer-{name}", trace=False)
    assert counted.macs_forward_batch == paper_macs(f"transformer-{name}")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("transformer-EL3-DL2-PI", {}),
        ("transformer-pico", {"ffn_activation": "gated-gelu", "tie_embeddings": False}),
        ("transformer-SH-SKV-NA", {}),
        ("transformer-pico", {"norm": "layer"}),
    ],
)
def test_every_count_is_consistent(name, options):
    # `count` raises where closed form and jaxpr disagree on parameters or FLOPs.
    counted = counts.count(
        name, batch_size=3, encoder_length=20, decoder_length=11, **options
    )
    model = models.build(name, **options)
    params = jax.eval_shape(model.init, jax.random.key(0))
    tables = 1 if model.config.tie_embeddings else 2
    embedding = tables * model.config.vocab_size * model.config.d_model
    assert counted.params_total == sum(x.size for x in jax.tree.leaves(params))
    assert counted.params_embedding == embedding
    assert counted.params_non_embedding == counted.params_total - embedding
    assert counted.params_active == counted.params_total
    logits_flops = 2 * 3 * 11 * model.config.vocab_size * model.config.d_model
    assert counted.flops_forward - counted.flops_forward_non_embedding == logits_flops
    assert counted.flops_forward_executed == counted.flops_forward
    # Both operands of every product need a gradient.
    assert counted.flops_train_step == 3 * counted.flops_forward
    model = models.build(name, **options, scan_layers=True)
    assert train_step_flops(model, 3, 20, 11) == counted.flops_train_step
    # The backward pass of attention computes the logits again.
    extra = counted.flops_train_step_executed - counted.flops_train_step
    assert extra == logits_product(model.config, 3, 20, 11)


@pytest.mark.parametrize("architecture", registry.ARCHITECTURES)
def test_full_layer_norms_are_counted(architecture):
    model = models.build(f"{architecture}-pico", norm="layer")
    params = jax.eval_shape(model.init, jax.random.key(0))
    counted = registry.ARCHITECTURES[architecture].param_counts(model.config)
    assert counted.total == sum(leaf.size for leaf in jax.tree.leaves(params))


def train_step_flops(model, batch_size, s, t, platform=None):
    batch = model.abstract_batch(batch_size, models.TextShape(s, t))
    return checked.train_step_flops(model, batch, platform)


def logits_product(config, batch, s, t):
    positions = config.num_encoder_layers * s * s
    positions += config.num_decoder_layers * (t * t + t * s)
    return 2 * batch * config.num_heads * config.d_kv * positions


def test_skipped_causal_blocks_are_not_executed():
    name, s, t = "transformer-EL2-DL2-PI", 64, 96
    counted = counts.count(name, batch_size=2, encoder_length=s, decoder_length=t)
    config = models.build(name).config
    # In blocks of 48 queries, the first block skips the keys of the second.
    skipped = 2 * (2 * 2 * config.num_heads * config.d_kv * 48 * 48) * 2
    assert counted.flops_forward - counted.flops_forward_executed == skipped
    elsewhere = counts.count(
        name, batch_size=2, encoder_length=s, decoder_length=t, platform="cuda"
    )
    assert elsewhere.flops_forward_executed == counted.flops_forward


def test_rematerialisation_recomputes_all_but_each_last_product():
    name, (batch, s, t) = "transformer-EL3-DL2-PI", (3, 20, 11)
    counted = counts.count(name, batch_size=batch, encoder_length=s, decoder_length=t)
    config = models.build(name).config
    body = counted.flops_forward_non_embedding
    # The output of a layer's last product is not needed by its backward pass.
    last = 2 * batch * (3 * s + 2 * t) * config.d_ff * config.d_model
    recomputed = counted.flops_train_step_remat_executed
    recomputed -= counted.flops_train_step_executed
    assert recomputed == body - last


def test_kept_products_are_not_recomputed():
    """Of the model's products, those of queries with keys and values are left."""
    name, (batch, s, t) = "transformer-EL3-DL2-PI", (3, 20, 11)
    config = models.build(name).config
    plain, dots = (
        train_step_flops(models.build(name, remat=policy), batch, s, t)
        for policy in ("none", "dots")
    )
    assert dots - plain == 2 * logits_product(config, batch, s, t)


@pytest.mark.slow
def test_loop_and_scan_execute_the_same_flops():
    for scan in (False, True):
        model = models.build("transformer-NL3-PI", scan_layers=scan, remat="layer")
        got = train_step_flops(model, 2, 8, 5, "cpu")
        want = counts.count(
            "transformer-NL3-PI", batch_size=2, encoder_length=8, decoder_length=5
        ).flops_train_step_remat_executed
        assert got == want


def test_a_wrong_closed_form_is_refused(monkeypatch):
    architecture = registry.ARCHITECTURES["transformer"]

    def wrong(config):
        right = architecture.param_counts(config)
        return dataclasses.replace(right, total=right.total + 1)

    wrong_architecture = dataclasses.replace(architecture, param_counts=wrong)
    monkeypatch.setitem(registry.ARCHITECTURES, "transformer", wrong_architecture)
    with pytest.raises(checked.CountError, match="parameters: .* in closed form"):
        counts.count("transformer-pico")


def test_keys_are_the_contract():
    assert list(counts.count("transformer-pico").to_dict()) == [
        "model",
        "params_total",
        "params_embedding",
        "params_non_embedding",
        "params_active",
        "batch_size",
        "encoder_length",
        "decoder_length",
        "macs_forward_batch",
        "macs_decoder_length",
        "flops_forward",
        "flops_forward_non_embedding",
        "flops_train_step",
        "flops_forward_executed",
        "flops_train_step_executed",
        "flops_train_step_remat_executed",
    ]


def test_lengths_are_checked():
    with pytest.raises(ValueError, match="decoder_length: must be at least 1, got 0"):
        counts.count("transformer-pico", decoder_length=0)


def test_no_count_of_any_architecture_changes_unseen():
    """After an intended change, renew the snapshot with `make_counts.py`."""
    recorded = json.loads(make_counts.PATH.read_text(encoding="utf-8"))
    assert make_counts.snapshot() == recorded


@pytest.mark.slow
@pytest.mark.parametrize("architecture", registry.ARCHITECTURES)
def test_closed_forms_equal_the_traced_model_at_every_size(architecture):
    for size in models.SIZES:
        # Raises CountError if they differ.
        assert counts.count(f"{architecture}-{size}").flops_forward_executed > 0


@pytest.mark.parametrize(
    "name",
    ["transformer-NL1K-DM64K-FF1024K-pico", "switch-NL1K-FF1024K-DM64K-pico"],
)
def test_a_model_has_its_limit_in_all(name):
    with pytest.raises(models.ConfigError, match="parameters; at most 100,000,"):
        counts.count(name)


def test_lengths_have_limits():
    for field in ("batch_size", "encoder_length", "decoder_length"):
        with pytest.raises(ValueError, match=f"{field}: must be at most 2147483647"):
            counts.count("transformer-pico", **{field: 2**64})
        with pytest.raises(ValueError, match=f"{field}: must be at least 1, got 0"):
            counts.count("transformer-pico", **{field: 0})
